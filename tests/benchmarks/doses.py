"""Doses that were not fitted: `python tests/benchmarks/doses.py ova sciplex fewer --seeds 3`.

Control cells are divided into halves. One half is fitted and the other asked, and then the other
way round. `--same` asks the fitted control cells themselves, all of them. A mean shift then moves
them to a mean that does not depend on how they were drawn, whereas the unbiased energy distance
takes cells for independent draws: it is too small for a mean shift, by about the variance of a mean
of so many cells, and for a model by less, since its draws are independent given the control cells.

Energy: unbiased energy distance in units of the mean standard deviation of the columns, means over
treatments, halves and seeds. The second table has the difference of each method from GENOT, paired
by dose and treatment, and its standard error. GENOT, network alone: the network is told of the
dose; without this name, samples at the doses around it are interpolated. GENOT, its own doses: in
`fewer`, samples at the doses at which the drug itself was fitted are interpolated."""

import argparse
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData

sys.path.insert(0, str(Path(__file__).parents[1]))

import perturbation
from perturbation import Row, energy

import scgenot as sg
from realdata import load
from scgenot import baselines

OURS, ALONE, OWN = "GENOT", "GENOT, network alone", "GENOT, its own doses"


class Split(NamedTuple):
    """Which cells are fitted, and which control cells are asked."""

    fitted: np.ndarray
    asked: np.ndarray


def ova(seed: int, *, same: bool) -> Iterator[Row]:
    """`ova_tcell_doses`, 750 cells a dose and treatment: an inner dose held out everywhere."""
    adata = ova_cells()
    for dose in (0.005, 0.05):
        for split in splits(adata, are_seen(adata, dose), seed, same=same):
            yield from held_out_dose(adata, dose, split, seed, covariates=["treatment"])


def ova_cells() -> AnnData:
    """750 cells of each dose and treatment."""
    adata = load("ova_tcell_doses/ova_flow")
    adata.obs["dose"] = adata.obs["ova_conc"]
    kept = adata.obs.groupby(["treatment", "dose"], observed=True).sample(750, random_state=0).index
    adata = adata[kept].copy()
    adata.obsm["X_pca"] = np.asarray(adata.X)
    return adata


def sciplex(seed: int, *, same: bool) -> Iterator[Row]:
    """`sciplex_a549_dex`, each inner dose held out: about 60 cells a dose."""
    adata = load("sciplex_a549_dex/a549_dex")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    for dose in np.unique(adata.obs["dose"].to_numpy(dtype=float))[2:-1]:
        for split in splits(adata, are_seen(adata, dose), seed, same=same):
            cells = perturbation.embedded(adata, split.fitted)
            yield from held_out_dose(cells, dose, split, seed)


def fewer(seed: int, *, same: bool) -> Iterator[Row]:
    """Four simulated drugs at five doses, 300 cells each; A is fitted at the largest dose only."""
    doses = (0.1, 0.3, 1.0, 3.0, 10.0)
    adata = sg.datasets.screen(300, doses=doses, combinations=False, rng=seed)
    adata.obs["treatment"] = adata.obs["drug"]
    levels = adata.obs["dose"].to_numpy()
    seen = (adata.obs["drug"] != "A").to_numpy() | (levels == doses[-1])
    for split in splits(adata, seen, seed, same=same):
        train = fit(adata, split.fitted, seed, control="control")
        for dose in doses[:-1]:
            yield from scores(adata, train, "A", dose, split, seed)


def are_seen(adata: AnnData, dose: float) -> np.ndarray:
    """Whether cells have another dose than the one that is held out."""
    return adata.obs["dose"].to_numpy(dtype=float) != dose


def splits(adata: AnnData, seen: np.ndarray, seed: int, *, same: bool) -> Iterator[Split]:
    """Ask each half of the control cells in turn, the other being fitted, or the fitted ones."""
    control = adata.obs["dose"].to_numpy(dtype=float) == 0
    if same:
        yield Split(seen, control)
        return
    first = np.zeros(adata.n_obs, dtype=bool)
    rng = np.random.default_rng([seed, 1])
    for treatment in adata.obs["treatment"].unique():
        rows = np.flatnonzero(control & (adata.obs["treatment"] == treatment).to_numpy())
        first[rng.permutation(rows)[: len(rows) // 2]] = True
    for asked in (first, control & ~first):
        yield Split(seen & ~asked, asked)


def held_out_dose(
    adata: AnnData, dose: float, split: Split, seed: int, n_samples: int = 32, **options
) -> Iterator[Row]:
    """Fit some cells, and predict a dose for each treatment."""
    train = fit(adata, split.fitted, seed, **options)
    for treatment in adata.obs["treatment"].unique():
        yield from scores(adata, train, treatment, dose, split, seed, n_samples)


def fit(adata: AnnData, fitted: np.ndarray, seed: int, **options) -> AnnData:
    """Fit some of the cells."""
    train = adata[fitted].copy()
    options = {"control": None, "predict": False, "progress": False} | options
    keys = {"perturbation_key": "treatment", "dose_key": "dose", "use_rep": "X_pca"}
    sg.tl.fit_perturbation(train, rng=seed, **keys, **options)
    return train


def scores(
    adata: AnnData,
    train: AnnData,
    treatment: str,
    dose: float,
    split: Split,
    seed: int,
    n_samples: int = 32,
) -> Iterator[Row]:
    """Predict a dose of a treatment by all methods, and score them."""
    fitted, asked = split
    x, levels = adata.obsm["X_pca"], adata.obs["dose"].to_numpy(dtype=float)
    unit = float(np.sqrt(train.obsm["X_pca"].var(0).mean()))
    own = adata.obs["treatment"].isin([treatment, "control"]).to_numpy()
    known, true = np.unique(levels[own & fitted]), x[own & (levels == dose)]
    around = known[known < dose].max(), known[known > dose].min()
    control, below, above = (x[own & fitted & (levels == level)] for level in (0, *around))
    query = adata[own & asked].copy()
    found = simple(control, below, above, query.obsm["X_pca"], place(dose, known), seed)
    drawn = partial(predicted, query, train, treatment, dose, n_samples, seed)
    are_all = len(known) == len(np.unique(levels[fitted]))
    other = {ALONE: drawn(known=None)} if are_all else {OWN: drawn(known=known)}
    found |= {OURS: drawn(), **other, "ceiling": None}
    for method, values in found.items():
        both = (values, true) if values is not None else baselines.halves(true, rng=seed)
        value = energy(*(np.asarray(cells) / unit for cells in both))
        about = {"seed": seed, "dose": dose, "treatment": treatment}
        yield {"method": method, **about, "energy": value}


def place(dose: float, known: np.ndarray) -> float:
    """Position of a dose between the fitted ones around it, on a logarithmic scale."""
    low, high = known[known < dose].max(), known[known > dose].min()
    at, start, end = np.log1p(np.array([dose, low, high]) / min(dose, known[1]))  # 0 has none
    return (at - start) / (end - start)


def simple(
    control: np.ndarray,
    below: np.ndarray,
    above: np.ndarray,
    query: np.ndarray,
    fraction: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """What simple methods predict."""
    pairs = baselines.plan_pairs(below, above, len(query), rng=seed)
    return {
        "identity": query,
        "dose below": below,
        "dose above": above,
        "interpolation of means": baselines.interpolated_shift(
            control, below, above, fraction, query
        ),
        "discrete plan between doses": baselines.straight(below, above, fraction, pairs=pairs),
    }


def predicted(
    query: AnnData,
    train: AnnData,
    treatment: str,
    dose: float,
    n_samples: int,
    seed: int,
    known: np.ndarray | str | None = "all",
) -> np.ndarray:
    """One sampled cell for each asked control cell, interpolated between known doses."""
    fit = sg.get.fit(train)
    if known is None:
        fit.model.strengths = None
    elif not isinstance(known, str):
        strengths = [fit.task.conditions.strength(level) for level in known]
        fit.model.strengths = torch.tensor(strengths).to(fit.model.strengths)
    options = {"dose": dose, "n_samples": n_samples, "rng": seed, "progress": False}
    sg.tl.predict(query, treatment, model=fit, **options)
    return query.obsm["X_genot"]


PARTS = {"ova": ova, "sciplex": sciplex, "fewer": fewer}


def main() -> None:
    """Print energies by dose, and differences from GENOT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"which of {', '.join(PARTS)}; all when none")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--same", action="store_true", help="ask the fitted control cells")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    for name in args.parts or PARTS:
        of = partial(PARTS[name], same=args.same)
        table = pd.DataFrame([row for seed in range(args.seeds) for row in of(seed)])
        about = {"index": "method", "values": "energy", "sort": False}
        means = table.pivot_table(columns="dose", **about)
        by_seed = table.pivot_table(columns="seed", **about)
        means["mean"], means["spread over seeds"] = means.mean(axis=1), by_seed.std(axis=1)
        print(f"\n## {name}\n{means.to_string(float_format='{:.4f}'.format)}", flush=True)
        each = table.pivot_table(columns=["dose", "treatment"], **about)
        over = each - each.loc[OURS]
        paired = pd.DataFrame({"over GENOT": over.mean(axis=1), "standard error": over.sem(axis=1)})
        print(f"\n{paired.to_string(float_format='{:.4f}'.format)}", flush=True)


if __name__ == "__main__":
    main()
