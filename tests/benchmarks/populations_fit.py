"""Generated populations beside measured ones: bars of `fit_populations`, three seeds.

    python tests/benchmarks/populations_fit.py [--parts gaussian curve conditions donors clouds]

gaussian: `sg.datasets.cohort`, Gaussian patients in 10 dimensions, 200 fitted, 100 generated and
100 new ones compared. 1-NN: accuracy of telling generated from new ones by the Bures distance, .5
is right; bar .40 to .60 in the mean. Nearest: mean distance to the nearest fitted patient,
generated less new ones, with its 95 % interval; bar: not below 0. Laws: the largest deviation of
means, variances of means and mean covariances from those of 2,000 patients, in standard errors;
about 75 numbers, 3.5 in one of 30 runs.

curve: Gaussian patients whose moments lie on a curve, thin beside its length: 1-NN with the network
and of the linear-Gaussian law alone.

conditions: ten stages of the cohort with three cell types, stages 3 and 6 held out. Composition:
total variation between shares of types, generated and true; bar .08. Mean: error of the mean of the
stage, beside that of the nearest fitted stage's patients.

donors: `kang_ifnb`, each of eight donors left out, 30 components of the others. Distances of the
answer from the donor's treated cells: Bures, of means, and energy.

clouds: rings, lines and crosses of 50 to 200 cells in two dimensions, 200 fitted, 100 generated and
100 new ones; 1-NN accuracy by the energy distance; bar .60.

time: CPU seconds of one fit and 200 populations generated, both kinds."""

import argparse
import time
from functools import partial

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import torch

import scgenot as sg
from realdata import load
from scgenot.population.bures import distance
from scgenot.population.gaussian import estimate

KEY = "patient"
HELD_OUT = (3, 6)
N_RESAMPLES = 2000


def moments(adata: ad.AnnData, key: str = KEY):
    """Means and covariances of populations, without shrinkage."""
    groups = adata.obs.groupby(key, observed=True, sort=False).indices.values()
    clouds = [adata.obsm["X_pca"][rows].astype(float) for rows in groups]
    return np.array([c.mean(0) for c in clouds]), np.array([np.cov(c.T) for c in clouds])


def deviations(found: np.ndarray, true: np.ndarray, n_fitted: int) -> np.ndarray:
    """Differences of column means, in standard errors of what was fitted, drawn and compared."""
    parts = 1 / len(found) + 1 / len(true) + 1 / n_fitted
    spread = np.maximum(true.std(0), found.std(0)) * np.sqrt(parts)
    return (found.mean(0) - true.mean(0)) / spread


def gaussian(seed: int) -> dict:
    """Generated patients beside new ones, and the laws of their moments."""
    make = partial(sg.datasets.cohort, n_types=1)
    fitted, new = make(200, rng=seed), make(100, rng=100 + seed)
    sg.tl.fit_populations(fitted, KEY, progress=False, rng=seed)
    made = sg.tl.simulate_populations(fitted, n_populations=100, rng=seed)
    table = sg.tl.evaluate_populations(new, made, KEY, train=fitted, progress=False)
    scores = table["nearest_neighbor_accuracy"]
    fit = sg.get.fit(fitted, "populations")
    drawn = fit.model.sample(np.zeros((1000, 0)), rng=seed)
    near = [nearest(side, fitted) for side in (made, new)]
    rng = np.random.default_rng(0)
    boot = [
        np.mean(rng.choice(near[0], len(near[0]))) - np.mean(rng.choice(near[1], len(near[1])))
        for _ in range(N_RESAMPLES)
    ]
    low, high = np.quantile(boot, [0.025, 0.975])
    true_means, true_covariances = moments(make(2000, rng=500 + seed))
    means, covariances = moments(sg.tl.simulate_populations(fitted, n_populations=100, rng=seed))
    upper = np.triu_indices(means.shape[1])
    squares = [np.square(side - true_means.mean(0)) for side in (means, true_means)]
    off = [
        deviations(means, true_means, 200),
        deviations(*squares, 200),
        deviations(covariances[:, *upper], true_covariances[:, *upper], 200),
    ]
    return {
        "1-NN": scores["generated"],
        "resampled": scores["resampled training populations"],
        "mean population": scores["mean population"],
        "ceiling": scores["ceiling, halves"],
        "nearest": np.mean(near[0]) - np.mean(near[1]),
        "low": low,
        "high": high,
        "law of means": abs(off[0]).max(),
        "variances": abs(off[1]).max(),
        "covariances": abs(off[2]).max(),
        "least eigenvalue": float(torch.linalg.eigvalsh(drawn.covariance).min()),
    }


def nearest(made: ad.AnnData, fitted: ad.AnnData) -> np.ndarray:
    """Bures distance of each population to the nearest fitted one."""
    both = ad.concat({"made": made, "fitted": fitted}, label="side")
    both.obs["who"] = both.obs["side"].astype(str) + both.obs[KEY].astype(str)
    both.obs_names_make_unique()
    table = sg.tl.population_distances(both, "who", progress=False)
    own = table.index.str.startswith("made")
    return table.loc[own, ~own].min(axis=1).to_numpy()


def on_curve(n: int, seed: int, dim: int = 10, n_cells: int = 300) -> ad.AnnData:
    """Patients whose means are on a curve and whose covariances turn along it."""
    law, rng = np.random.default_rng(123), np.random.default_rng(seed)
    places = law.normal(size=(dim, 4))
    turns = law.normal(size=(2, dim, dim)) / np.sqrt(dim)
    turns = (turns + turns.transpose(0, 2, 1)) / 2
    cells = []
    for s in rng.uniform(size=n):
        angle = 1.4 * np.pi * s
        at = np.array([np.sin(angle), np.cos(angle), 2 * s - 1, np.sin(2 * angle) / 2])
        matrix = np.eye(dim) + 0.4 * (np.sin(3 * s) * turns[0] + (s - 0.5) * turns[1])
        matrix = matrix * np.sqrt(np.linspace(2, 0.5, dim))
        mean = places @ at + 0.05 * rng.normal(size=dim)
        cells.append(mean + rng.normal(size=(n_cells, dim)) @ matrix.T)
    names = np.repeat([f"p{k}" for k in range(n)], n_cells)
    cells = np.concatenate(cells).astype(np.float32)
    obs = pd.DataFrame({KEY: names}, index=[f"c{k}" for k in range(len(names))])
    return ad.AnnData(cells, obs=obs, obsm={"X_pca": cells})


def curve(seed: int) -> dict:
    """What the network does for patients that are not Gaussian among themselves."""
    fitted, new, found = on_curve(200, seed), on_curve(100, 100 + seed), {}
    for name, learner in {
        "1-NN": None,
        "law alone": sg.model.GaussianPopulations(steps=0),
    }.items():
        sg.tl.fit_populations(fitted, KEY, learner=learner, progress=False, rng=seed)
        made = sg.tl.simulate_populations(fitted, n_populations=100, rng=seed)
        table = sg.tl.evaluate_populations(new, made, KEY, train=fitted, progress=False)
        found[name] = table.loc["generated", "nearest_neighbor_accuracy"]
        found[f"{name}, nearest"] = table.loc["generated", "nearest_training"]
    found["ceiling"] = table.loc["ceiling, halves", "nearest_neighbor_accuracy"]
    found["ceiling, nearest"] = table.loc["ceiling, halves", "nearest_training"]
    return found


def conditions(seed: int, kind: str = "gaussian") -> dict:
    """Patients of stages that were held out."""
    adata = sg.datasets.cohort(200, rng=seed)
    adata.obs["stage"] = np.floor(adata.obs["place"] * 10).astype(int)
    out = adata.obs["stage"].isin(HELD_OUT).to_numpy()
    fitted = adata[~out].copy()
    sg.tl.fit_populations(fitted, KEY, condition="stage", kind=kind, progress=False, rng=seed)
    truth, centers = adata.uns["truth"], adata.uns["truth"]["centers"]
    big = sg.datasets.cohort(5000, n_cells=1, rng=900 + seed).uns["truth"]
    errors, apart, others = [], [], []
    for stage in HELD_OUT:
        made = sg.tl.simulate_populations(fitted, {"stage": stage}, n_populations=100, rng=seed)
        there = np.floor(big["place"] * 10) == stage
        shares, arc = big["composition"][there].mean(0), big["mean"][there].mean(0)
        cells = made.obsm["X_pca"]
        # types lie along the last dimensions, far from each other beside their spread
        kinds = types_of(cells, arc, centers)
        errors.append(np.abs(np.bincount(kinds, minlength=3) / len(kinds) - shares).sum() / 2)
        mean = arc + shares @ centers
        apart.append(np.linalg.norm(cells.mean(0) - mean))
        neighbors = [
            np.linalg.norm(
                fitted.obsm["X_pca"][(fitted.obs["stage"] == s).to_numpy()].mean(0) - mean
            )
            for s in (stage - 1, stage + 1)
        ]
        others.append(min(neighbors))
    return {
        "composition": np.mean(errors),
        "mean": np.mean(apart),
        "nearest stage": np.mean(others),
        "n_patients": len(truth["place"]),
    }


def types_of(cells: np.ndarray, arc: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Nearest type of each cell, patients' offsets left where they are."""
    return np.square(cells[:, None] - arc - centers).sum(2).argmin(1)


def donors(seed: int) -> pd.DataFrame:
    """Treated cells of donors that were left out, from their control cells."""
    adata = load("kang_ifnb/kang_ifnb")
    adata = adata[~adata.obs["donor"].isin(["unmatched", "doublet/amb"])].copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    rows = []
    for donor in adata.obs["donor"].unique():
        fitted, own = (
            adata[(adata.obs["donor"] == donor) == asked].copy() for asked in (False, True)
        )
        sc.pp.highly_variable_genes(fitted, n_top_genes=1000)
        sg.tl.embed(fitted, n_components=30, rng=seed)
        sg.tl.project(own, fitted, key="pca")
        control, treated = (own[own.obs["condition"] == kind].copy() for kind in ("ctrl", "stim"))
        options = {"progress": False, "rng": seed}
        sg.tl.fit_populations(fitted, "donor", paired_with={"condition": "ctrl"}, **options)
        sg.tl.fit_perturbation(fitted, "condition", "ctrl", predict=False, **options)
        asked = {"model": fitted, "rng": seed}
        answers = {
            "fit_populations": sg.tl.simulate_populations(
                control, n_cells=treated.n_obs, **asked
            ).obsm["X_pca"],
            "fit_perturbation": sg.tl.simulate(control, "stim", progress=False, **asked).obsm[
                "X_pca"
            ],
            "mean shift of populations": control.obsm["X_pca"] + shift_of(fitted),
            "control cells": control.obsm["X_pca"],
        }
        true = treated.obsm["X_pca"]
        rows += [{"method": name, "donor": donor, **apart(x, true)} for name, x in answers.items()]
    return pd.DataFrame(rows)


def shift_of(adata: ad.AnnData) -> np.ndarray:
    """Mean over donors of the difference of their means."""
    frame = pd.DataFrame(adata.obsm["X_pca"], index=adata.obs_names)
    keys = [adata.obs["donor"].to_numpy(), adata.obs["condition"].to_numpy()]
    means = frame.groupby(keys).mean()
    return (means.xs("stim", level=1) - means.xs("ctrl", level=1)).mean().to_numpy()


def apart(found: np.ndarray, true: np.ndarray) -> dict:
    """Distances of cells from measured ones."""
    one, other = (estimate([np.asarray(x, float)], warn=False) for x in (found, true))
    return {
        "bures": float(distance(one, other)[0]),
        "mean": float(np.linalg.norm(found.mean(0) - true.mean(0))),
        "energy": sg.metrics.energy_distance(found, true, unbiased=True),
    }


def shapes(n: int, seed: int) -> ad.AnnData:
    """Rings, lines and crosses, turned and moved at random."""
    rng, clouds, kinds = np.random.default_rng(seed), [], []
    for _ in range(n):
        size, kind = rng.integers(50, 201), rng.integers(3)
        at, arm = rng.uniform(-1, 1, size), rng.random(size) < 0.5
        x = {
            0: np.stack([np.cos(np.pi * at), np.sin(np.pi * at)], 1),
            1: np.stack([1.5 * at, 0 * at], 1),
            2: 1.2 * np.stack([at * arm, at * ~arm], 1),
        }[int(kind)]
        turn = rng.uniform(0, 2 * np.pi)
        turned = x @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        noise = 0.05 * rng.normal(size=(size, 2)) + 0.2 * rng.normal(size=2)
        clouds.append(turned + noise)
        kinds.append(np.full(size, kind))
    who = np.repeat([f"p{k}" for k in range(n)], list(map(len, clouds)))
    cells = np.concatenate(clouds).astype(np.float32)
    obs = pd.DataFrame({KEY: who, "shape": np.concatenate(kinds).astype(str)})
    obs.index = [f"c{k}" for k in range(len(obs))]
    return ad.AnnData(cells, obs=obs, obsm={"X_pca": cells})


def clouds(seed: int) -> dict:
    """Clouds of three shapes."""
    fitted, new = shapes(200, seed), shapes(100, 100 + seed)
    start = time.process_time()
    sg.tl.fit_populations(fitted, KEY, kind="cloud", progress=False, rng=seed)
    made = sg.tl.simulate_populations(fitted, n_populations=100, rng=seed)
    seconds = time.process_time() - start
    options = {"train": fitted, "kind": "energy", "progress": False}
    table = sg.tl.evaluate_populations(new, made, KEY, **options)
    scores = table["nearest_neighbor_accuracy"]
    return {
        "1-NN": scores["generated"],
        "resampled": scores["resampled training populations"],
        "mean population": scores["mean population"],
        "ceiling": scores["ceiling, halves"],
        "CPU seconds": seconds,
    }


def seconds(seed: int) -> dict:
    """CPU seconds of both kinds."""
    found = {}
    for kind, dim in (("gaussian", 30), ("cloud", 10)):
        adata = sg.datasets.cohort(200, dim=dim, rng=seed)
        start = time.process_time()
        sg.tl.fit_populations(adata, KEY, kind=kind, progress=False, rng=seed)
        found[f"{kind}, fit"] = time.process_time() - start
        sg.tl.simulate_populations(adata, n_populations=200, rng=seed)
        found[f"{kind}, all"] = time.process_time() - start
    return found


PARTS = {
    "gaussian": gaussian,
    "curve": curve,
    "conditions": conditions,
    "donors": donors,
    "clouds": clouds,
    "time": seconds,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for part in arguments.parts:
        found = []
        for seed in range(arguments.seeds):
            answer = PARTS[part](seed)
            rows = answer if isinstance(answer, pd.DataFrame) else pd.DataFrame([answer])
            found.append(rows.assign(seed=seed))
            if len(rows) == 1:
                print(part, rows.round(3).iloc[0].to_dict(), flush=True)
        table = pd.concat(found)
        by = table["method"] if "method" in table else np.full(len(table), part)
        numbers = table.select_dtypes("number").drop(columns="seed")
        print(numbers.groupby(by).agg(["mean", "std"]).round(3).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
