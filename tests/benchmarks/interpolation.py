"""Populations at left-out times, with baselines: `python tests/benchmarks/interpolation.py`.

One time point is left out and predicted from the others. Cells are normalised to their median depth
and logarithmised; the most variable genes and 30 principal components are those of the training
times, by `sg.tl.embed`, the left-out cells are projected, and all is divided by one scalar so that
the mean variance of a component over training cells is 1. Energy distance and MMD are unbiased; W2
is exact between as many cells as were left out (the ceiling has half of them, so its W2 is too
high); R2 is that of the genes' variances, cells decoded by the components. `larry_clones` was not
looked at when the method was chosen. The rows of GENOT are one fit each."""

import argparse
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData

sys.path.insert(0, str(Path(__file__).parents[1]))

import scgenot as sg
from realdata import load
from scgenot import baselines
from scgenot.course.clock import bend, fit_pace
from scgenot.course.interpolation import interpolate_pairs, pair_weights
from scgenot.metrics import energy_distance, mmd, r2_variances, wasserstein
from scgenot.ot import Coupling, Sinkhorn
from scgenot.pair import Pair

N_CELLS = 1000  # of each prediction
EPSILON = 0.01
TAU = (0.8, 1.0)  # cells before the left-out time have more or fewer descendants
BETA = 2  # concentration of the fractions drawn from a beta distribution


@dataclass(frozen=True)
class LeftOut:
    """All populations, the place of the left-out time among them, and genes from components."""

    populations: dict[float, np.ndarray]
    place: int
    genes: np.ndarray

    @property
    def times(self) -> list[float]:
        return sorted(self.populations)

    @property
    def time(self) -> float:
        return self.times[self.place]

    @property
    def step(self) -> tuple[float, float]:
        return self.times[self.place - 1], self.times[self.place + 1]

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        return self.populations[self.step[0]], self.populations[self.step[1]]

    @property
    def s(self) -> float:
        return (self.time - self.step[0]) / (self.step[1] - self.step[0])

    @property
    def truth(self) -> np.ndarray:
        return self.populations[self.time]

    @property
    def course(self) -> dict[float, np.ndarray]:
        return {t: cells for t, cells in self.populations.items() if t != self.time}

    @cached_property
    def balanced(self) -> Coupling:
        return Sinkhorn(epsilon=EPSILON)(Pair(*self.ends))

    @cached_property
    def unbalanced(self) -> Coupling:
        return Sinkhorn(epsilon=EPSILON, tau=TAU)(Pair(*self.ends))


def klein() -> tuple[AnnData, np.ndarray]:
    cells = load("klein_mesc/klein_mesc")
    cells = cells[:, ~cells.var_names.isin(["Rn28s1", "Rn45s"])].copy()  # ribosomal RNA
    return cells, cells.obs["day"].to_numpy(float)


def worm() -> tuple[AnnData, np.ndarray]:
    """Worm embryos by the time they were collected; cells of mixed collections are left out."""
    cells = load("worm_embryo/worm_embryo")
    cells = cells[cells.obs["time.point"] != "mixed"].copy()
    return cells, cells.obs["time.point"].astype(str).str[:3].to_numpy(float)


def worm_bins() -> tuple[AnnData, np.ndarray]:
    """Worm embryos by the bin of their estimated time; the time of a bin is its cells' median."""
    cells = load("worm_embryo/worm_embryo")
    own = cells.obs["embryo.time"].astype(float)
    return cells, own.groupby(cells.obs["embryo.time.bin"].astype(str)).transform(
        "median"
    ).to_numpy()


def wot() -> tuple[AnnData, np.ndarray]:
    cells = load("wot_mef/wot250")
    cells.uns["log1p"] = {}  # the file's counts are gone
    return cells, cells.obs["day"].to_numpy(float)


def ipsc() -> tuple[AnnData, np.ndarray]:
    """Stem cells to heart muscle, at five uneven times."""
    cells = load("ipsc_cm/ipsc_cm")
    cells.X = cells.X.astype(np.float32)
    return cells, cells.obs["day"].to_numpy(float)


def larry() -> tuple[AnnData, np.ndarray]:
    cells = load("larry_clones/larry")
    return cells, cells.obs["time_info"].astype(str).to_numpy(float)


SETS = {
    "klein_mesc": klein,
    "worm_embryo": worm,
    "worm_bins": worm_bins,
    "wot_mef": wot,
    "ipsc_cm": ipsc,
    "larry_clones": larry,
}
N_GENES = {"wot_mef": 500}  # of 1,479 in 250 cells; 1,000 elsewhere


def leave_out(name: str, place: int, n_components: int = 30, *, adjust: bool = True) -> LeftOut:
    cells, times = SETS[name]()
    if "log1p" not in cells.uns:
        sc.pp.normalize_total(cells)
        sc.pp.log1p(cells)
    training = times != np.unique(times)[place]
    known = cells[training].copy()
    n_genes = N_GENES.get(name, 1000)
    if known.n_vars > n_genes:
        sc.pp.highly_variable_genes(known, n_top_genes=n_genes)
        cells = cells[:, known.var["highly_variable"].to_numpy()]
    train, everything = cells[training].copy(), cells.copy()
    sg.tl.embed(train, n_components=n_components, mask_var=None, adjust=adjust)
    sg.tl.project(everything, train)
    z = everything.obsm["X_pca"].astype(float)
    z[training] = train.obsm["X_pca"]
    components = train.varm["PCs"].T.astype(float)
    unit = np.sqrt(z[training].var(0).mean())
    populations = {float(t): z[times == t] / unit for t in np.unique(times)}
    return LeftOut(populations, place, components * unit)


def drawn(coupling: Coupling, seed: int) -> tuple[np.ndarray, np.ndarray]:
    i, j = coupling.sample_pairs(N_CELLS, generator=torch.Generator().manual_seed(seed))
    return i.numpy(), j.numpy()


def growth(
    coupling: Coupling, pairs: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    sent, received = coupling.marginals()
    return (sent / coupling.a).numpy()[pairs[0]], (received / coupling.b).numpy()[pairs[1]]


def beta_fractions(case: LeftOut, pairs: tuple[np.ndarray, np.ndarray], seed: int) -> np.ndarray:
    (x, y), rng = case.ends, np.random.default_rng(seed)
    w = rng.beta(BETA * case.s, BETA * (1 - case.s), size=(N_CELLS, 1))
    return (1 - w) * x[pairs[0]] + w * y[pairs[1]]


def predictions(case: LeftOut, seed: int) -> dict[str, np.ndarray]:
    """Predicted cells by method; the ceiling is added where they are scored."""
    (x, y), s = case.ends, case.s
    plan, relaxed = drawn(case.balanced, seed), drawn(case.unbalanced, seed)
    eta_xi = growth(case.unbalanced, relaxed)
    rng = np.random.default_rng(seed)
    weighted = rng.choice(N_CELLS, N_CELLS, p=pair_weights(*eta_xi, s))
    weighted = relaxed[0][weighted], relaxed[1][weighted]
    line = baselines.straight(x, y, s, pairs=weighted)
    means = {t: cells.mean(0) for t, cells in case.course.items()}
    pace = fit_pace(means)
    way = {float(pace(t)): mean for t, mean in means.items()}
    start, end, place = (float(pace(t)) for t in (*case.step, case.time))
    fraction = (place - start) / (end - start)
    paced = baselines.straight(x, y, fraction, pairs=weighted)
    # every cell at most once: repeated cells would count against the mixture
    largest = int(min(len(x) / (1 - s), len(y) / s))

    def ours(pairs, growth=None):
        source, target = x[pairs[0]], y[pairs[1]]
        return interpolate_pairs(
            source, target, case.time, step=case.step, samples=case.course, growth=growth, rng=seed
        ).cells

    return {
        "time before": x,
        "time after": y,
        "mixture": baselines.mixture(x, y, s, largest, rng=seed),
        "random pairs": baselines.straight(
            x, y, s, pairs=baselines.random_pairs(len(x), len(y), N_CELLS, rng=seed)
        ),
        "mean shift": x + s * (baselines.mean_shift(x, y, x) - x),
        "Gaussian map": x + s * (baselines.gaussian_map(x, y, x) - x),
        "plan, epsilon .005": baselines.straight(
            x, y, s, pairs=baselines.plan_pairs(x, y, N_CELLS, epsilon=0.005, rng=seed)
        ),
        "plan": baselines.straight(x, y, s, pairs=plan),
        "plan, beta": beta_fractions(case, plan, seed),
        "plan, clock, pace and bend": ours(plan),
        "growth": line,
        "growth, pace and bend": paced + bend(np.full(N_CELLS, fraction), (start, end), way),
        "growth, clock, pace and bend": ours(relaxed, eta_xi),
    }


def generated(case: LeftOut) -> dict[str, np.ndarray]:
    """What `sg.tl.interpolate` generates by a model of the step around the left-out time."""
    adata = fitted(case)
    options = {"method": "model", "n_cells": N_CELLS, "clip": False}
    return {
        "GENOT, straight": sg.tl.interpolate(adata, case.time, straight=True, **options).X,
        "GENOT, growth, clock, pace and bend": sg.tl.interpolate(adata, case.time, **options).X,
    }


def fitted(
    case: LeftOut, epsilon: float = EPSILON, tau: tuple[float, float] = TAU, learner=None
) -> AnnData:
    """Fit a model of the step around the left-out time."""
    times = np.concatenate([np.full(len(cells), t) for t, cells in case.course.items()])
    cells = np.concatenate(list(case.course.values())).astype(np.float32)
    obs = pd.DataFrame({"time": times}, index=np.arange(len(times)).astype(str))
    adata = AnnData(cells, obs=obs)
    solver = Sinkhorn(epsilon=epsilon, tau=tau)
    steps = {"pairs": [case.step], "solver": solver, "learner": learner}
    sg.tl.fit_trajectory(adata, "time", use_rep="X", predict=False, progress=False, **steps)
    return adata


def scores(predicted: np.ndarray, truth: np.ndarray, genes: np.ndarray) -> dict[str, float]:
    return {
        "energy": energy_distance(predicted, truth, unbiased=True),
        "MMD": mmd(predicted, truth, unbiased=True),
        "W2": wasserstein(predicted, truth),
        "R2 variances": r2_variances(predicted @ genes, truth @ genes),
    }


def evaluate(name: str, seeds: int) -> pd.DataFrame:
    rows = []
    n_times = len(np.unique(SETS[name]()[1]))
    for place in range(1, n_times - 1):
        case = leave_out(name, place)
        of_genot = generated(case)
        for seed in range(seeds):
            found = predictions(case, seed) | (of_genot if seed == 0 else {})
            compared = {method: (cells, case.truth) for method, cells in found.items()}
            compared["ceiling"] = baselines.halves(case.truth, rng=seed)
            for method, pair in compared.items():
                rows.append({"method": method, "time": case.time, **scores(*pair, case.genes)})
    return pd.DataFrame(rows)


def main() -> None:
    """Print one table a set: means over its left-out times, and the energy distance at each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sets", nargs="*", help=f"which of {', '.join(SETS)}; all when none is named"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", FutureWarning)
    for name in args.sets or SETS:
        table = evaluate(name, args.seeds)
        means = table.drop(columns="time").groupby("method", sort=False).mean()
        times = table.pivot_table("energy", "method", "time", sort=False).add_prefix("energy at ")
        print(
            f"\n## {name}\n{means.join(times).to_string(float_format='{:.3f}'.format)}", flush=True
        )


if __name__ == "__main__":
    main()
