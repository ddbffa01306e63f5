"""Defaults chosen on all sets but one: `python tests/benchmarks/choice.py in_distribution`.

Candidates are the default and changes of one setting. Every candidate is fitted on every set. For
each set in turn, the candidate that is best on the other sets is chosen, and its error on this set
is shown beside those of the default and of the best simple method. Before they are averaged over
sets, errors are divided by that of the best simple method; both above the ceiling (perturbations),
or that of the mixture of the two times around (courses).

Errors are energy distances: within cell types where the set has them, means over knock-outs,
treatments or left-out times otherwise; FOSCTTM of the coupling's barycentres for translations,
divided by that of ridge regression on the true pairs. Rows are added to `--rows`; those there are
not computed again."""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import doses
import interpolation
import matches
import perturbation

import scgenot as sg
from scgenot import baselines
from scgenot.course.clock import bend, clock_fractions, fit_clock, fit_pace
from scgenot.course.interpolation import pair_weights

DEFAULT = "default"
METRICS = ["energy", "type energy", "R2 variances", "variance", "FOSCTTM", "margin"]
Row = dict[str, float | str]
Flow = sg.model.FlowMatching
SCREENS = {
    DEFAULT: {},
    "source noise .3": {"learner": Flow(source_noise=0.3)},
    "no linear extrapolation": {"learner": Flow(extrapolation="flow")},
    "epsilon .01": {"solver": sg.ot.Sinkhorn(epsilon=0.01)},
    "epsilon .005": perturbation.CLOSER,
    "no displacement": {"learner": Flow(displacement=False)},
}
# epsilon, tau, and how much of the clock's spread pairs follow
GROWTH, BOTH, BALANCED = interpolation.TAU, (0.8, 0.8), (1.0, 1.0)
COURSES = {
    DEFAULT: (0.01, GROWTH, 1.0),
    "half of the clock": (0.01, GROWTH, 0.5),
    "no clock": (0.01, GROWTH, 0.0),
    "tau (.9, 1)": (0.01, (0.9, 1.0), 1.0),
    "tau (.8, .95)": (0.01, (0.8, 0.95), 1.0),
    "tau (.8, .8)": (0.01, BOTH, 1.0),
    "balanced": (0.01, BALANCED, 1.0),
    "epsilon .05": (0.05, GROWTH, 1.0),
    "epsilon .05, tau (.8, .95)": (0.05, (0.8, 0.95), 1.0),
    "epsilon .05, tau (.8, .8)": (0.05, BOTH, 1.0),
    "epsilon .05, balanced": (0.05, BALANCED, 1.0),
}
MODELS = {
    DEFAULT: {},
    "balanced": {"tau": BALANCED},
    "epsilon .05, tau (.8, .8)": {"epsilon": 0.05, "tau": BOTH},
    "no displacement": {"learner": Flow(displacement=False)},
    "750 steps on all cells": {"learner": Flow(steps=750, validation_fraction=0.0)},
}


def screens(rows: Callable[[dict], list[Row]], simple: Callable[[], list[Row]]) -> list[Row]:
    """Rows of all candidates, and those of simple methods and the ceiling."""
    found = [row for row in simple() if row["method"] != "GENOT"]
    for name, options in SCREENS.items():
        found += [{**row, "method": name} for row in rows(options | {"n_samples": 2})]
    return found


def split(cells, fitted: np.ndarray, asked: np.ndarray, seed: int, part: str) -> list[Row]:
    """Candidates on one split of cells with types, coupled within types."""
    within = {"covariates": ["kind"]}
    parts = cells, fitted, asked, seed

    def simple() -> list[Row]:
        return perturbation.simple_rows(*parts)

    found = screens(lambda options: [perturbation.of_genot(*parts, **within, **options)], simple)
    return [{**row, "part": part} for row in found]


def held_out_cells(adata, seed: int) -> list[Row]:
    """30 % of the cells."""
    training = np.random.default_rng(seed).random(adata.n_obs) < 0.7
    return split(perturbation.embedded(adata, training), training, ~training, seed, "cells")


def held_out_values(adata, column: str, seed: int, *, control: bool) -> list[Row]:
    """Each value of a column in turn; its control cells are fitted if `control`."""
    found, values = [], adata.obs[column].astype(str)
    for value in values.unique():
        asked = (values == value).to_numpy()
        fitted = ~asked | (control & (adata.obs["drug"] == "control").to_numpy())
        found += split(perturbation.embedded(adata, fitted), fitted, asked, seed, value)
    return found


def papalexi(seed: int) -> list[Row]:
    """40 % of the cells of ten knock-outs."""
    parts = *perturbation.papalexi_split(perturbation.papalexi_cells(), seed), seed
    return screens(
        lambda options: perturbation.papalexi_of_genot(*parts, **options),
        lambda: perturbation.papalexi_simple(*parts),
    )


def ova_doses(seed: int) -> list[Row]:
    """Two doses, each held out of all treatments; control cells that were not fitted are asked."""
    adata, found = doses.ova_cells(), []
    for dose in (0.005, 0.05):
        one = next(doses.splits(adata, doses.are_seen(adata, dose), seed, same=False))
        for name, options in SCREENS.items():
            options = {"covariates": ["treatment"], "n_samples": 2, **options}
            rows = doses.held_out_dose(adata, dose, one, seed, **options)
            for row in rows:
                if row["method"] == doses.OURS:
                    found.append({**row, "method": name, "part": f"{dose:g}"})
                elif row["method"] != doses.ALONE and name == DEFAULT:
                    found.append({**row, "part": f"{dose:g}"})
    return found


def course(name: str, seed: int, *, model: bool) -> list[Row]:
    """Each inner time of a course."""
    found, n_times = [], len(np.unique(interpolation.SETS[name]()[1]))
    for place in range(1, n_times - 1):
        case = interpolation.leave_out(name, place)
        predicted = interpolation.predictions(case, seed)
        simple = [*interpolation_simple(predicted), "Gaussian map", "plan"]
        rows = {method: predicted[method] for method in simple}
        of = MODELS if model else COURSES
        for candidate, options in of.items():
            rows[candidate] = modelled(case, options) if model else coupled(case, seed, *options)
        both = {method: (cells, case.truth) for method, cells in rows.items()}
        both["ceiling"] = baselines.halves(case.truth, rng=seed)
        for method, pair in both.items():
            row = {"method": method, "part": f"{case.time:g}"}
            found.append(row | interpolation.scores(*pair, case.genes))
    return found


def interpolation_simple(predicted: dict) -> list[str]:
    """Names of the methods without a coupling."""
    return [m for m in predicted if m.startswith(("time", "mixture", "random", "mean"))]


def modelled(case: interpolation.LeftOut, options: dict) -> np.ndarray:
    """Cells of `sg.tl.interpolate` by a model."""
    adata = interpolation.fitted(case, **options)
    many = {"method": "model", "n_cells": interpolation.N_CELLS, "clip": False, "check": False}
    return sg.tl.interpolate(adata, case.time, **many).X


def coupled(
    case: interpolation.LeftOut, seed: int, epsilon: float, tau: tuple[float, float], clock: float
) -> np.ndarray:
    """Cells of `sg.tl.interpolate` by a coupling, following a share of the clock."""
    x, y = case.ends
    coupling = sg.ot.Sinkhorn(epsilon=epsilon, tau=tau)(sg.Pair(x, y))
    pairs = interpolation.drawn(coupling, seed)
    pace = fit_pace(way := {t: cells.mean(0) for t, cells in case.course.items()})
    way = {float(pace(t)): mean for t, mean in way.items()}
    start, end, place = (float(pace(t)) for t in (*case.step, case.time))
    s, rng = (place - start) / (end - start), np.random.default_rng(seed)
    weights = pair_weights(*interpolation.growth(coupling, pairs), s)
    chosen = rng.choice(len(weights), len(weights), p=weights)
    x, y = x[pairs[0][chosen]], y[pairs[1][chosen]]
    own = fit_clock({float(pace(t)): cells for t, cells in case.course.items()})
    fractions = s + clock * (clock_fractions(own(x), own(y), s, rng=rng) - s)
    line = (1 - fractions[:, None]) * x + fractions[:, None] * y
    return line + bend(fractions, (start, end), way)


def courses(*, model: bool) -> dict[str, Callable[[int], list[Row]]]:
    """All courses, as functions of the seed."""
    return {
        name: lambda seed, name=name: course(name, seed, model=model) for name in interpolation.SETS
    }


# per task, the sets, as functions of the seed
TASKS = {
    "in_distribution": {
        "kang_ifnb": lambda seed: held_out_cells(perturbation.kang(), seed),
        "kang_ifnb_labelled": lambda seed: held_out_cells(perturbation.labelled(), seed),
        "papalexi_crispr": papalexi,
    },
    "out_of_distribution": {
        "kang_ifnb, donors": lambda seed: held_out_values(
            perturbation.kang(), "donor", seed, control=False
        ),
        "kang_ifnb_labelled, types": lambda seed: held_out_values(
            perturbation.labelled(), "kind", seed, control=True
        ),
        "ova_tcell_doses, doses": ova_doses,
    },
    "translations": {name: partial(matches.matched, name) for name in matches.NAMES},
    "courses": courses(model=False),
    "courses_model": courses(model=True),
}


def computed(task: str, seeds: int, file: Path | None) -> Iterator[pd.DataFrame]:
    """Rows of each set and seed, from the file where it has them."""
    known = pd.read_csv(file) if file and file.exists() else None
    for seed in range(seeds):
        for name, of in TASKS[task].items():
            if known is not None:
                same = (known["task"] == task) & (known["set"] == name) & (known["seed"] == seed)
                if same.any():
                    yield known[same]
                    continue
            about = {"task": task, "set": name, "seed": seed}
            rows = pd.DataFrame([row | about for row in of(seed)])
            rows = rows.reindex(columns=[*about, "method", "part", *METRICS])
            if file:
                rows.to_csv(file, mode="a", header=not file.exists(), index=False)
            yield rows


def error_of(rows: pd.DataFrame) -> pd.Series:
    """Error by method and seed: within types if known, means over parts."""
    if rows["FOSCTTM"].notna().any():
        return rows.groupby(["method", "seed"])["FOSCTTM"].mean()
    typed = rows["type energy"].notna().any() and not rows["set"].iloc[0].startswith("papalexi")
    metric = "type energy" if typed else "energy"
    return rows.groupby(["method", "seed"])[metric].mean()


def candidates_of(task: str) -> list[str]:
    of = {"courses": COURSES, "courses_model": MODELS, "translations": matches.CANDIDATES}
    return list(of.get(task, SCREENS))


def table_of(task: str, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Errors by set and candidate, relative to simple methods; and the choice by set left out."""
    candidates, relative, out = candidates_of(task), {}, []
    errors = {name: error_of(part) for name, part in rows.groupby("set", sort=False)}
    for name, error in errors.items():
        mean = error.groupby("method").mean()
        simple = mean.drop([*candidates, "ceiling"], errors="ignore")
        is_course = task.startswith("courses")
        base = mean["mixture"] if is_course else simple.min()
        floor = 0.0 if is_course else mean.get("ceiling", 0.0)
        relative[name] = (mean[candidates] - floor) / (base - floor)
    relative = pd.DataFrame(relative)
    for name, error in errors.items():
        chosen = relative.drop(columns=name).mean(axis=1).idxmin()
        mean, spread = error.groupby("method").mean(), error.groupby("method").std()
        simple = mean.drop([*candidates, "ceiling"], errors="ignore")
        out.append(
            {
                "set": name,
                "default": mean[DEFAULT],
                "sd": spread[DEFAULT],
                "chosen on the others": chosen,
                "its error": mean[chosen],
                "its sd": spread[chosen],
                "best simple": simple.idxmin(),
                "its": simple.min(),
                "best here": mean[candidates].idxmin(),
            }
        )
    return relative, pd.DataFrame(out).set_index("set")


def main() -> None:
    """Print, per task, the relative errors of all candidates and the choice by set left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", help=f"which of {', '.join(TASKS)}; all when none")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--rows", type=Path, help="file of rows, read and added to")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    for task in args.tasks or TASKS:
        rows = pd.concat(list(computed(task, args.seeds, args.rows)), ignore_index=True)
        relative, choice = table_of(task, rows)
        variances = rows.groupby(["method", "set"], sort=False)["R2 variances"].mean().unstack()
        kept = [
            *candidates_of(task),
            *[m for m in ("Gaussian map", "plan") if m in variances.index],
        ]
        relative["mean"] = relative.mean(axis=1)
        for title, table in (
            ("error relative to simple methods", relative),
            ("R2 of variances", variances.loc[kept]),
            ("chosen on the other sets", choice),
        ):
            print(
                f"\n## {task}: {title}\n{table.to_string(float_format='{:.4f}'.format)}", flush=True
            )


if __name__ == "__main__":
    main()
