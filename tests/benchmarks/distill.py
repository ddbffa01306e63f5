"""A sampler of one step against the flow that taught it.

    python tests/benchmarks/distill.py [mixtures kang] [--seeds 3] [--steps 1]

`mixtures`: `sg.datasets.mixtures` in 10 dimensions, epsilon 1, 5,000 cells a side; cBW-UVP of 500
draws for each of 200 new source cells over the floor of exact draws. `kang`: `kang_ifnb`, 30 % of
the cells held out; energy distance of one draw for each held-out control cell from the held-out
treated cells, mean of 20 draws, in units of the embedding, and the difference of student and
teacher with the 95 % interval over resampled cells. Both: what the check of `distill` says, CPU
seconds that distilling takes, and CPU time of the default sampler over that of the student, for 32
draws a cell (as `predict`) and for one. Bars: .3 points, energy within noise, 8 x.
"""

import argparse
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import eot
import perturbation
from maps import fitted

import scgenot as sg
from scgenot.metrics import energy_distance

TEACHER = sg.flow.ODE("midpoint", steps=6)
N_TIMED = 1024


def timed(make):
    """What a function returns, and its CPU seconds."""
    start = time.process_time()
    return make(), time.process_time() - start


def speed(model, source: np.ndarray, condition) -> dict[str, float]:
    """CPU time of the teacher over that of the student, best of three."""
    found = {}
    for n in (32, 1):
        rows = np.arange(N_TIMED * 8 // n) % len(source)
        told = None if condition is None else condition[rows]
        seconds = [
            min(
                timed(lambda o=o: model.sample(source[rows], told, n_samples=n, **o))[1]  # noqa: B023
                for _ in range(3)
            )
            for o in ({"integrator": TEACHER}, {})
        ]
        found[f"times as fast, {n} a cell"] = seconds[0] / seconds[1]
    return found


def mixtures(seed: int, steps: int) -> dict[str, float]:
    """Conditional laws that are known exactly, d = 10."""
    adata = sg.datasets.mixtures(10, 1.0, [2025, seed], n_cells=eot.N_CELLS)
    law = sg.model.MixtureLaw(**adata.uns["truth"])
    pair = sg.Pair(adata.X[: eot.N_CELLS], adata.X[eot.N_CELLS :])
    plan = sg.ot.Sinkhorn(epsilon=2.0, relative=False)(pair)
    run = sg.model.Run(seed=seed, progress=False)
    model, fit_s = timed(lambda: sg.model.FlowMatching()([sg.Link(pair, plan=plan)], run).model)
    options = {"steps": steps, "rng": seed, "progress": False}
    student, distill_s = timed(lambda: sg.model.distill(model, pair.source, **options))
    rng = np.random.default_rng([1, seed])
    x = rng.standard_normal((eot.N_TEST, 10))
    total = law.sample(rng.standard_normal((20_000, 10)), rng=rng)[:, 0].var(0).sum()
    exact = [eot.scores(law, x, law.sample(x, eot.N_SAMPLES, rng=rng), total)[0] for _ in range(4)]
    draws = [one.sample(x, n_samples=eot.N_SAMPLES, rng=seed).numpy() for one in (model, student)]
    over = [eot.scores(law, x, one.astype(float), total)[0] - np.mean(exact) for one in draws]
    row = {"teacher": over[0], "student": over[1], "difference": over[1] - over[0]}
    return (
        row | checked(student) | {"fit s": fit_s, "distill s": distill_s} | speed(student, x, None)
    )


def kang(seed: int, steps: int) -> dict[str, float]:
    """Held-out cells of blood with interferon."""
    adata = perturbation.kang()
    training = np.random.default_rng(seed).random(adata.n_obs) < 0.7
    cells = perturbation.embedded(adata, training)
    control = (cells.obs["drug"] == "control").to_numpy()
    train, query = cells[training].copy(), cells[~training & control].copy()
    unit, true = cells.uns["unit"], cells[~training & ~control].obsm["X_pca"]
    fit_s = fitted(train, None, seed, use_rep="X_pca")
    options = {"steps": steps, "rng": seed, "progress": False}
    _, distill_s = timed(lambda: sg.tl.distill(train, **options))
    draw = np.random.default_rng(seed)
    n, m = query.n_obs, len(true)
    weights = [np.ones((1, k)) for k in (n, m)]
    resampled = [draw.multinomial(k, np.full(k, 1 / k), size=200) for k in (n, m)]
    weights = [np.vstack(pair).astype(float) for pair in zip(weights, resampled, strict=True)]
    energy = partial(
        energy_distance, unbiased=True, predicted_weights=weights[0], true_weights=weights[1]
    )
    found = []
    for integrator in (TEACHER, None):
        scores = []
        for k in range(20):
            options = {"integrator": integrator, "n_samples": 2, "rng": k, "progress": False}
            sg.tl.predict(query, model=train, **options)
            scores.append(energy(query.obsm["X_genot"] / unit, true / unit))
        found.append(np.mean(scores, axis=0))
    difference = found[1] - found[0]
    low, high = np.quantile(difference[1:], [0.025, 0.975])
    fit = sg.get.fit(train)
    question = fit.ask(query)
    row = {"teacher": found[0][0], "student": found[1][0], "difference": difference[0]}
    row |= {"low": low, "high": high, **checked(fit.model), "fit s": fit_s, "distill s": distill_s}
    return row | speed(fit.model, query.obsm["X_pca"], question.condition)


def checked(model) -> dict[str, float]:
    """What distillation found on held-out source cells."""
    return {"check, UVP": model.distilled.uvp, "check, energy %": model.distilled.energy}


def main() -> None:
    """Print a row a seed."""
    parts = {"mixtures": mixtures, "kang": kang}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"which of {', '.join(parts)}; all when none")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in arguments.parts or parts:
        for seed in range(arguments.seeds):
            row = parts[name](seed, arguments.steps)
            shown = ", ".join(f"{key} {value:.4f}" for key, value in row.items())
            print(f"{name}, seed {seed}: {shown}", flush=True)


if __name__ == "__main__":
    main()
