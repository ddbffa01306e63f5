"""Maps, sparse maps and elastic costs: `python tests/benchmarks/maps.py [part ...] --seeds 3`.

What each part prints is in `docs/methods.md`. Energy is unbiased, in units of the embedding; means
over seeds (and donors) with their standard deviation, and paired differences with a 95 % interval.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import perturbation

import scgenot as sg
from realdata import load
from scgenot.metrics import energy_distance, monge_gap, r2_means

Row = dict[str, float | str]
energy = partial(energy_distance, unbiased=True)
QUIET = {"progress": False, "predict": False}
N_RESAMPLES = 200
MOVED = 0.1  # standard deviations from which on a feature has moved


def fitted(train: AnnData, learner, seed: int, **options) -> float:
    """Fit a screen, and return the CPU seconds that it took."""
    started = time.process_time()
    options = {"rng": seed, **QUIET, **options}
    sg.tl.fit_perturbation(train, "drug", "control", learner=learner, **options)
    return time.process_time() - started


def sparse_drug(seeds: list[int]) -> list[Row]:
    """Simulated drug that moves 5 of 50 genes, others in each of three types; 3,000 cells."""
    rows = []
    for seed in seeds:
        adata = sg.datasets.sparse_drug(rng=100 + seed)
        control = (adata.obs["drug"] == "control").to_numpy()
        true, kinds = adata.layers["change"][control], adata.obs["cell_type"][control]
        sd = np.asarray(adata.X)[control].std(0)
        learners = {
            "sparse map": sg.model.MongeMap(sparsity=sg.model.Sparsity(n_features=5)),
            "dense map": sg.model.MongeMap(),
        }
        found = {}
        for name, learner in learners.items():
            seconds = fitted(adata, learner, seed, use_rep="X")
            query = adata[control].copy()
            sg.tl.predict(query, model=adata, progress=False)
            found[name] = query.obsm["X_genot"] - query.X, seconds
        # the fifteen genes that move in some type, in every cell
        anywhere = np.flatnonzero(true.any(0))
        fixed = np.zeros_like(true)
        fixed[:, anywhere] = true.mean(0)[anywhere]
        found["fixed list of genes"] = fixed, 0.0
        for name, (change, seconds) in found.items():
            score = support(change, true, sd, kinds.to_numpy())
            rows.append({"method": name, "seed": seed, **score, "s": seconds})
    return rows


def support(change: np.ndarray, true: np.ndarray, sd: np.ndarray, kinds: np.ndarray) -> Row:
    """Precision and recall of what moves in a cell, and sizes of what truly moves."""
    said, is_moved = np.abs(change) > MOVED * sd, np.abs(true) > MOVED * sd
    both = (said & is_moved).sum(1)
    ratios = []
    for kind in np.unique(kinds):
        cells = kinds == kind
        genes = is_moved[cells].any(0)
        ratios.append(change[cells][:, genes].mean(0) / true[cells][:, genes].mean(0))
    return {
        "moved a cell": said.sum(1).mean(),
        "precision": (both / np.maximum(said.sum(1), 1)).mean(),
        "recall": (both / is_moved.sum(1)).mean(),
        "size": np.abs(change)[is_moved].sum() / np.abs(true)[is_moved].sum(),
        "error of the mean size, type and gene": np.abs(np.concatenate(ratios) - 1).mean(),
    }


def elastic(seeds: list[int]) -> list[Row]:
    """Elastic cost, n = 400, d = 20, a shift in three columns, epsilon .05."""
    rows, shift = [], np.zeros(20)
    shift[:3] = 2, -3, 1.5
    for seed in seeds:
        draw = np.random.default_rng(seed)
        pair = sg.Pair(draw.normal(size=(400, 20)), draw.normal(size=(400, 20)) + shift)
        for kind in ("l1", "stvs"):
            for strength in (1, 4, 10):
                cost = sg.ot.elastic(strength, kind=kind)
                moved = sg.ot.Sinkhorn(cost=cost, epsilon=0.05)(pair).displacement().numpy()
                error = np.sqrt(((moved - shift) ** 2).sum(1).mean())
                name, n = f"{kind} {strength}", np.count_nonzero(moved, axis=1).mean()
                rows.append({"method": name, "seed": seed, "non-zeros": n, "RMSE": error})
    return rows


def moons(n: int, draw: np.random.Generator) -> np.ndarray:
    """Two interlocked half circles with noise."""
    angle, which = draw.uniform(0, np.pi, n), draw.integers(2, size=n)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    x[which == 1] = [1, 0.5] - x[which == 1]
    return x + 0.08 * draw.normal(size=x.shape)


def convex_gradient(x: np.ndarray) -> np.ndarray:
    """Gradient of a convex function, a sum of steep soft steps: the optimal map to its image."""
    draw = np.random.default_rng([0, 1])
    slopes, places = draw.normal(size=(4, 2)), draw.uniform(-0.5, 0.5, 4)
    slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)
    return 0.1 * x + (1 / (1 + np.exp(-20 * (x @ slopes.T - places)))) @ slopes


def known_map(seeds: list[int]) -> list[Row]:
    """Moons sent along a known optimal map; 1,000 source and 1,000 other target cells."""
    rows = []
    for seed in seeds:
        draw = np.random.default_rng(seed)
        source, target = moons(1000, draw), convex_gradient(moons(1000, draw))
        true = convex_gradient(source)
        cells = pd.DataFrame({"drug": ["control"] * 1000 + ["drug"] * 1000}).rename("c{}".format)
        adata = AnnData(np.vstack([source, target]).astype(np.float32), cells)
        seconds = fitted(adata, sg.model.MongeMap(), seed, use_rep="X")
        query = adata[:1000].copy()
        sg.tl.predict(query, model=adata, progress=False)
        found = {
            "Monge map": query.obsm["X_genot"],
            "Gaussian map": sg.baselines.gaussian_map(source, target, source),
            "barycenters of the plan": sg.ot.Sinkhorn(epsilon=0.02)(sg.Pair(source, target))
            .barycenter()
            .numpy(),
        }
        for name, mapped in found.items():
            uvp = 100 * ((mapped - true) ** 2).sum(1).mean() / true.var(0).sum()
            gap = monge_gap(source, mapped)
            rows.append({"method": name, "seed": seed, "L2-UVP": uvp, "Monge gap": gap})
        rows[-3]["s"] = seconds
    return rows


def kang(seeds: list[int]) -> list[Row]:
    """`kang_ifnb`, fitted on 70 % of the cells, scored on the others; a split for each seed."""
    adata, found = perturbation.kang(), []
    for seed in seeds:
        training = np.random.default_rng(seed).random(adata.n_obs) < 0.7
        cells = perturbation.embedded(adata, training)
        found.append(against_gaussian(cells, training, ~training, seed, seed))
    return [row for rows, _ in found for row in rows]


def donors(seeds: list[int]) -> list[Row]:
    """`kang_ifnb`, each of eight donors held out in turn; intervals of the mean over donors."""
    adata, found = perturbation.kang(), []
    for fold, donor in enumerate(adata.obs["donor"].unique()):
        asked = (adata.obs["donor"] == donor).to_numpy()
        cells = perturbation.embedded(adata, ~asked)
        # cells are resampled alike for all seeds
        found += [against_gaussian(cells, ~asked, asked, seed, fold) for seed in seeds]
    rows = [row for rows, _ in found for row in rows if "less" not in row["method"]]
    for name in found[0][1]:
        row = {"method": name, "seed": seeds[0]}
        for metric in found[0][1][name]:
            mean = np.mean([differences[name][metric] for _, differences in found], axis=0)
            row |= with_interval(metric, mean)
        rows.append(row)
    return rows


def development(seeds: list[int]) -> list[Row]:
    """Energy less that of the Gaussian map, on the sets on which settings of maps were chosen."""
    overfit = {"steps": 1000, "weight_decay": 0.01, "epsilon": 0.05}
    learners = {
        "default": sg.model.MongeMap(),
        "long, no weight decay, small epsilon": sg.model.MongeMap(**overfit),
        "no Monge gap": sg.model.MongeMap(gap=0.0),
    }
    rows = []
    for seed in seeds:
        for part, cells, training in development_splits(seed):
            control, unit = (cells.obs["drug"] == "control").to_numpy(), cells.uns["unit"]
            train, query = cells[training].copy(), cells[~training & control].copy()
            true = cells[~training & ~control].obsm["X_pca"] / unit
            sides = [train[train.obs["drug"] == drug].obsm["X_pca"] for drug in ("control", "IFNB")]
            gaussian = sg.baselines.gaussian_map(*sides, query.obsm["X_pca"])
            known = energy(gaussian / unit, true)
            for name, learner in learners.items():
                seconds = fitted(train, learner, seed, use_rep="X_pca")
                sg.tl.predict(query, model=train, progress=False)
                less = energy(query.obsm["X_genot"] / unit, true) - known
                row = {"method": name, "seed": seed, "part": part}
                rows.append({**row, "energy less Gaussian map": less, "s": seconds})
    return rows


def development_splits(seed: int) -> Iterator[tuple[str, AnnData, np.ndarray]]:
    """Yield sets other than `kang_ifnb`, with 30 % of the cells or a donor held out."""
    adata = perturbation.labelled()
    donor = adata.obs["sample_id"].astype(str).str.extract(r"(\d+)", expand=False).to_numpy()
    draw = np.random.default_rng(100 + seed)
    splits = {"labelled": draw.random(adata.n_obs) < 0.7}
    splits |= {f"labelled, donor {one}": donor != one for one in np.unique(donor)}
    for name, training in splits.items():
        yield name, perturbation.embedded(adata, training), training
    adata = load("papalexi_crispr/papalexi")
    names = adata.obs["target"].astype(str)
    chosen = names.isin(["non-targeting", "IFNGR1", "IFNGR2", "JAK2", "STAT1"])
    chosen &= adata.obs["grna_fraction"] > 0.9
    adata, names = adata[chosen].copy(), names[chosen]
    adata = perturbation.log_normalised(adata, treated=names != "non-targeting", kind=names)
    training = draw.random(adata.n_obs) < 0.7
    yield "knock-outs", perturbation.embedded(adata, training), training
    adata = load("ova_tcell_doses/ova_flow")
    adata = adata[(adata.obs["treatment"] == "Stim-C") & adata.obs["ova_conc"].isin([0, 0.5])]
    adata = adata[draw.permutation(adata.n_obs)[:2000]].copy()
    adata.obs["drug"] = np.where(adata.obs["ova_conc"] > 0, "IFNB", "control")
    adata.obsm["X_pca"] = np.asarray(adata.X)
    adata.uns["unit"] = float(np.sqrt(adata.obsm["X_pca"].var(0).mean()))
    yield "antigen", adata, draw.random(adata.n_obs) < 0.7


def with_interval(metric: str, values: np.ndarray) -> Row:
    """Return a value and its 95 % interval, given the value itself and those of resampled cells."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {metric: float(values[0]), f"{metric} low": low, f"{metric} high": high}


def against_gaussian(
    cells: AnnData, training: np.ndarray, asked: np.ndarray, seed: int, fold: int
) -> tuple[list[Row], dict[str, dict[str, np.ndarray]]]:
    """Score all methods; also the differences from the Gaussian map, first of the cells as they are
    and then of resampled ones.
    """
    control = (cells.obs["drug"] == "control").to_numpy()
    train, query = cells[training].copy(), cells[asked & control].copy()
    truth, unit = cells[asked & ~control], cells.uns["unit"]
    sides = [cells[training & side].obsm["X_pca"] for side in (control, ~control)]
    asked_of = query.obsm["X_pca"]
    found = {
        "Gaussian map": sg.baselines.gaussian_map(*sides, asked_of),
        "mean shift": sg.baselines.mean_shift(*sides, asked_of),
        "identity": asked_of,
    }
    seconds = {}
    for name, learner in {"Monge map": sg.model.MongeMap(), "flow": None}.items():
        seconds[name] = fitted(train, learner, seed, use_rep="X_pca")
        sg.tl.predict(query, model=train, rng=seed, progress=False)
        found[name] = query.obsm["X_genot"]
    genes = {
        name: sg.tl.decode(np.asarray(values), truth, key="pca").to_numpy()
        for name, values in {**found, "truth": truth.obsm["X_pca"]}.items()
    }
    draw = np.random.default_rng(fold)
    n, m = query.n_obs, truth.n_obs
    resampled = [(np.arange(n), np.arange(m))]
    resampled += [(draw.integers(n, size=n), draw.integers(m, size=m)) for _ in range(N_RESAMPLES)]
    weights = [
        np.array([np.bincount(pair[side], minlength=size) for pair in resampled], dtype=float)
        for side, size in ((0, n), (1, m))
    ]
    options = {"predicted_weights": weights[0], "true_weights": weights[1]}
    scores = {
        name: {
            "energy": energy(values / unit, truth.obsm["X_pca"] / unit, **options),
            "R2 means": r2_means(genes[name], genes["truth"], **options),
            "Monge gap": np.array(
                [
                    monge_gap(query.obsm["X_pca"][i] / unit, values[i] / unit)
                    for i, _ in resampled[: 1 + N_RESAMPLES // 10]
                ]
            ),
        }
        for name, values in found.items()
    }
    rows = []
    for name, of_method in scores.items():
        row = {"method": name, "seed": seed, **{k: float(v[0]) for k, v in of_method.items()}}
        rows.append(row | ({"s": seconds[name]} if name in seconds else {}))
    differences = {
        f"{name} less Gaussian map": {
            metric: values - scores["Gaussian map"][metric] for metric, values in of_method.items()
        }
        for name, of_method in scores.items()
        if name in seconds
    }
    for name, of_method in differences.items():
        row = {"method": name, "seed": seed}
        for metric, values in of_method.items():
            row |= with_interval(metric, values)
        rows.append(row)
    return rows, differences


def sparse_kang(seeds: list[int]) -> list[Row]:
    """`kang_ifnb_labelled`, 1,000 genes, coupled within types: at most 50 genes a cell."""
    adata, rows = perturbation.labelled(), []
    sc.pp.highly_variable_genes(adata, n_top_genes=1000)
    adata = adata[:, adata.var["highly_variable"]].copy()
    adata.X = adata.X.toarray()
    control = (adata.obs["drug"] == "control").to_numpy()
    kinds = adata.obs["kind"].to_numpy()
    measured = {
        kind: mean_of(adata, ~control & (kinds == kind)) - mean_of(adata, control & (kinds == kind))
        for kind in np.unique(kinds)
    }
    overall = np.argsort(-np.abs(mean_of(adata, ~control) - mean_of(adata, control)))[:50]
    for seed in seeds:
        learners = {
            "dense map": sg.model.MongeMap(),
            "sparse map": sg.model.MongeMap(sparsity=sg.model.Sparsity(n_features=50)),
        }
        for name, learner in learners.items():
            seconds = fitted(adata, learner, seed, use_rep="X", covariates=["kind"])
            table = sg.tl.response(adata, groupby="kind")
            for kind, group in table.groupby("group", sort=False):
                change = group["change"].to_numpy()
                after = mean_of(adata, ~control & (kinds == kind))
                largest = np.argsort(-np.abs(measured[kind]))[:50]
                moved = np.argsort(-np.abs(change))[:50]
                row = {
                    "method": name,
                    "seed": seed,
                    "part": kind,
                    "n": int(group["n_cells"].iloc[0]),
                }
                predicted = group["control_mean"].to_numpy() + change
                row["R2 means"] = 1 - ((predicted - after) ** 2).sum() / after.var() / len(after)
                row["overlap"] = len(set(moved) & set(largest)) / 50
                row["overlap of the overall list"] = len(set(overall) & set(largest)) / 50
                before = group["control_mean"].to_numpy()
                for n in (0, 50, 100, 400):
                    row[f"R2 of {n} true changes"] = best_r2(before, after, n)
                if "share_moved" in group:
                    row["moved a cell"] = group["share_moved"].sum()
                    row["R2 of as many true changes"] = best_r2(
                        before, after, round(row["moved a cell"])
                    )
                rows.append({**row, "s": seconds})
    return rows


def best_r2(before: np.ndarray, after: np.ndarray, n: int) -> float:
    """R2 of means where the genes with the largest changes have their true mean, others none."""
    left = np.sort(np.abs(after - before))[: len(after) - n]
    return 1 - (left**2).sum() / after.var() / len(after)


def mean_of(adata: AnnData, cells: np.ndarray) -> np.ndarray:
    """Mean of each gene over some cells."""
    return np.asarray(adata.X[cells].mean(0)).ravel()


def screen(seeds: list[int]) -> list[Row]:
    """Simulated screen: four pairs and two drugs held out of 24 pairs and 12 drugs."""
    rows = []
    for seed in seeds:
        drugs = [f"D{i + 1}" for i in range(12)]
        pairs = [f"{a}+{b}" for i, a in enumerate(drugs) for b in drugs[i + 1 :]]
        pairs = list(np.random.default_rng(0).permutation(pairs)[:24])
        adata = sg.datasets.screen(300, drugs=drugs, combinations=pairs, rng=seed)
        names = adata.obs["drug"].astype(str).to_numpy()
        unseen = ["D11", "D12"]
        pairs = [pair for pair in pairs if not set(unseen) & set(pair.split("+"))][:4]
        kept = [not set(unseen) & set(name.split("+")) and name not in pairs for name in names]
        train, told = adata[kept].copy(), {"embedding": adata.uns["embedding"]}
        for method, learner in {"Monge map": sg.model.MongeMap(), "flow": None}.items():
            seconds = fitted(train, learner, seed, use_rep="X_pca", **told)
            for part, conditions in {"unseen drug": unseen, "unseen pair": pairs}.items():
                for name in conditions:
                    found = perturbation.asked_of_screen(adata, train, name, seed, seconds)
                    for row in found:
                        if row["method"] == "GENOT":
                            rows.append({**row, "method": method, "part": part})
                        elif method == "flow":  # trivial methods once
                            rows.append({**row, "part": part})
    return rows


PARTS = {
    "sparse_drug": sparse_drug,
    "elastic": elastic,
    "known_map": known_map,
    "kang": kang,
    "donors": donors,
    "development": development,
    "sparse_kang": sparse_kang,
    "screen": screen,
}


def main() -> None:
    """Print one table a part: means and standard deviations over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"which of {', '.join(PARTS)}; all when none")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in args.parts or PARTS:
        table = pd.DataFrame(PARTS[name](list(range(args.seeds))))
        keys = ["method", *(key for key in ("part",) if key in table)]
        numbers = table.drop(columns="seed")
        by = numbers.groupby(keys, sort=False)
        print(f"\n## {name}\n{by.mean().to_string(float_format='{:.4f}'.format)}")
        print(f"\nspread\n{by.std().to_string(float_format='{:.4f}'.format)}", flush=True)


if __name__ == "__main__":
    main()
