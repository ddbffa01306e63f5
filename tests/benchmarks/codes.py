"""Cells encoded to noise: round trips, and p-values of new cells whose law is known.

    python tests/benchmarks/codes.py [--seeds 3] [--real]

`sg.datasets.gaussians`, 3,000 cells a side, epsilon that of the data, the usual flow; 1,000 target
cells that were not fitted, each with a source cell drawn from the plan given the cell. Round trip:
largest error of a coordinate of decode(encode(y)), in units of the cells (spread about 1). KS:
Kolmogorov-Smirnov distance of the p-values from uniform; 1,000 exact ones are off by .04 in one of
twenty draws. Bars: 1e-4 and .06.

Then cells of one drug of `sg.datasets.screen` under another, where a cell's chance is known: root
mean square error of the counterfactual, and of a new draw from the same control cell.

`--real` asks instead for p-values on `kang_ifnb`, 30 % of the cells held out: of fitted treated
cells, of new ones, and of half of these as ranks among the other half."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import kstest

sys.path.insert(0, str(Path(__file__).parent))

import perturbation

import scgenot as sg

N_FITTED, N_NEW = 3000, 1000


def row(dim: int, seed: int) -> tuple[float, float, float]:
    """Largest error of a round trip, KS distance and CPU seconds of the p-values."""
    fitted = sg.datasets.gaussians(N_FITTED, dim=dim, epsilon=1.0, rng=seed)
    law = fitted.uns["truth"]
    rng = np.random.default_rng(seed)
    target = rng.multivariate_normal(law["target_mean"], law["target_covariance"], N_NEW)
    new = fitted[:N_NEW].copy()
    new.obsm["X_pca"] = target.astype(np.float32)
    new.obs["time"] = 1.0
    new.obs_names = [f"new-{k}" for k in range(N_NEW)]
    solver = sg.ot.Sinkhorn(epsilon=1.0, relative=False)
    options = {"solver": solver, "predict": False, "progress": False, "rng": seed}
    sg.tl.fit_trajectory(fitted, "time", **options)
    start = time.process_time()
    sg.tl.score_cells(new, model=fitted, rng=seed)
    seconds = time.process_time() - start
    fit = sg.get.fit(fitted)
    source = fitted.obsm["X_pca"][:N_NEW]
    condition = np.tile(fit.task.condition(0.0, 1.0), (N_NEW, 1))
    code = fit.model.encode(source, target, condition)
    again = fit.model.decode(source, code, condition).numpy()
    distance = kstest(new.obs["genot_p_value"], "uniform").statistic
    return np.abs(again - target).max(), distance, seconds


def other_drug(seed: int) -> tuple[float, float]:
    """Errors of cells of D1 under D2, by `counterfactual` and by `simulate`."""
    adata = sg.datasets.screen(1000, drugs=2, combinations=False, heterogeneity=0.5, rng=seed)
    options = {"covariates": ["cell_type", "donor"], "predict": False, "progress": False}
    sg.tl.fit_perturbation(adata, "drug", "control", use_rep="X_latent", rng=seed, **options)
    treated = adata[adata.obs["drug"] == "D1"].copy()

    def as_frame(states):
        return pd.DataFrame(states, columns=[f"z{k}" for k in range(states.shape[1])])

    made = {"model": adata, "decoder": as_frame, "rng": seed}
    found = sg.tl.counterfactual(treated, "D2", **made)
    control = adata[found.obs["control_cell"].to_numpy()].copy()
    control.obs_names_make_unique()
    drawn = sg.tl.simulate(control, "D2", progress=False, **made)
    one, two = adata.uns["embedding"].to_numpy() @ adata.uns["truth"]["mechanism"]
    untreated = treated.obsm["X_untreated"]
    effect = (treated.obsm["X_latent"] - untreated) @ one / (one @ one)
    true = untreated + effect[:, None] * two
    return tuple(np.sqrt(((made.X - true) ** 2).sum(1).mean()) for made in (found, drawn))


def held_out_blood(seed: int) -> dict[str, float]:
    """Shares of p-values under .05 on `kang_ifnb`, and distances from uniform."""
    adata, draw = perturbation.kang(), np.random.default_rng(seed)
    training = draw.random(adata.n_obs) < 0.7
    cells = perturbation.embedded(adata, training)
    treated = (cells.obs["drug"] != "control").to_numpy()
    train, new = cells[training].copy(), cells[~training & treated].copy()
    options = {"use_rep": "X_pca", "predict": False, "progress": False, "rng": seed}
    sg.tl.fit_perturbation(train, "drug", "control", **options)
    half = draw.random(new.n_obs) < 0.5
    found = {}
    sg.tl.score_cells(new, model=train, rng=seed)
    found["new"] = new.obs["genot_p_value"].to_numpy()
    sg.tl.score_cells(train, rng=seed)
    found["fitted"] = train.obs["genot_p_value"].dropna().to_numpy()
    one = new[half].copy()
    sg.tl.score_cells(one, held_out=new[~half].copy(), model=train, rng=seed)
    found["ranks of new"] = one.obs["genot_p_value"].to_numpy()
    return {
        f"{name}, {what}": value
        for name, p in found.items()
        for what, value in {
            "under .05": (p <= 0.05).mean(),
            "KS": kstest(p, "uniform").statistic,
        }.items()
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--real", action="store_true", help="p-values on kang_ifnb alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(arguments.seeds if arguments.real else 0):
        print(f"kang_ifnb, split {seed}: {held_out_blood(seed)}", flush=True)
    if arguments.real:
        return
    for dim in arguments.dims:
        for seed in range(arguments.seeds):
            error, distance, seconds = row(dim, seed)
            print(
                f"d={dim} seed={seed}: round trip {error:.1e}, KS {distance:.3f}, {seconds:.1f} s",
                flush=True,
            )
    for seed in range(arguments.seeds):
        kept, drawn = other_drug(seed)
        print(
            f"other drug seed={seed}: counterfactual {kept:.2f}, new draw {drawn:.2f}", flush=True
        )


if __name__ == "__main__":
    main()
