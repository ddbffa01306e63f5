"""Intervals and simulated cells against held-out ones: `python tests/benchmarks/response.py`.

*Coverage*: share of genes and groups whose measured change of the mean lies in the interval of
`sg.tl.response` that should hold 95 % of them; *moved* counts those with a predicted change of more
than .25. Groups have at least 10 cells on both sides. *Calls*: genes of `sc.tl.rank_genes_groups`
(Wilcoxon, adjusted p < .05) between held-out control cells and simulated treated cells, with and
without residuals, against those between the same control cells and measured treated cells. The
ceiling is the other half of the cells, measured only.

`two donors`: `kang_ifnb_labelled`, half of the cells of each donor, type and condition held out.
`new donors`: `kang_ifnb`, two of eight donors held out. `knock-out`: `papalexi_crispr`, half of the
cells, guides as replicates."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData, concat

sys.path.insert(0, str(Path(__file__).parents[1]))

import scgenot as sg
from realdata import load

LEVEL, MOVED, FEWEST = 0.95, 0.25, 10


def normalised(adata: AnnData, drug: pd.Series, kind: pd.Series, donor: pd.Series) -> AnnData:
    """Log-normalise, keep variable genes, and name the columns alike in every set."""
    sc.pp.filter_genes(adata, min_cells=10)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    if adata.n_vars > 2000:
        sc.pp.highly_variable_genes(adata, n_top_genes=1500, subset=True)
    adata.obs = pd.DataFrame(
        {"drug": drug.astype(str), "kind": kind.astype(str), "donor": donor.astype(str)}
    ).astype("category")
    return adata


def two_donors(seed: int) -> tuple[AnnData, np.ndarray]:
    """Half of the cells of two donors."""
    adata = load("kang_ifnb_labelled/kang_muscat")
    donor = adata.obs["sample_id"].astype(str).str.replace(r"\D", "", regex=True)
    adata = normalised(adata, adata.obs["group_id"], adata.obs["cluster_id"], donor)
    return adata, half(adata, seed)


def new_donors(seed: int) -> tuple[AnnData, np.ndarray]:
    """Two donors of eight."""
    adata = load("kang_ifnb/kang_ifnb")
    adata = adata[~adata.obs["donor"].isin(["unmatched", "doublet/amb"])].copy()
    adata = normalised(
        adata, adata.obs["condition"], adata.obs["predicted_type"], adata.obs["donor"]
    )
    two = np.random.default_rng(seed).choice(adata.obs["donor"].cat.categories, 2, replace=False)
    return adata, adata.obs["donor"].isin(two).to_numpy()


def knock_out(seed: int) -> tuple[AnnData, np.ndarray]:
    """Half of the cells without STAT1, and of control cells, of three replicates."""
    adata = load("papalexi_crispr/papalexi")
    kept = adata.obs["target"].isin(["non-targeting", "STAT1"])
    adata = adata[kept & (adata.obs["grna_fraction"] > 0.9)].copy()
    drug = np.where(adata.obs["target"] == "STAT1", "stim", "ctrl")
    every = pd.Series("THP-1", adata.obs_names)
    adata = normalised(adata, pd.Series(drug, adata.obs_names), every, adata.obs["bio_rep"])
    return adata, half(adata, seed)


def half(adata: AnnData, seed: int) -> np.ndarray:
    """Mark half of the cells of each condition, type and donor."""
    rng, marked = np.random.default_rng(seed), np.zeros(adata.n_obs, dtype=bool)
    for rows in adata.obs.groupby(["drug", "kind", "donor"], observed=True).indices.values():
        marked[rng.permutation(rows)[: len(rows) // 2]] = True
    return marked


def calls(control: AnnData, treated: AnnData) -> set[str]:
    """Return the genes that a Wilcoxon test calls."""
    both = concat({"ctrl": control, "stim": treated}, label="side", index_unique="-")
    both.obs["side"] = both.obs["side"].astype("category")
    sc.tl.rank_genes_groups(both, "side", reference="ctrl", method="wilcoxon")
    table = sc.get.rank_genes_groups_df(both, "stim")
    return set(table["names"][table["pvals_adj"] < 0.05])


def overlap(found: set[str], true: set[str]) -> str:
    """Write how many genes were called, and their Jaccard index with those of measured cells."""
    return f"{len(found):5d} ({len(found & true) / max(len(found | true), 1):.2f})"


def one(name: str, adata: AnnData, held_out: np.ndarray, seed: int) -> None:
    """Fit, predict, and print a line of coverages and a line of calls."""
    known, new = adata[~held_out].copy(), adata[held_out].copy()
    sg.tl.embed(known, n_components=30)
    sg.tl.project(new, known)
    sg.tl.fit_perturbation(
        known, "drug", "ctrl", covariates=["kind", "donor"], rng=seed, progress=False
    )
    shares = []
    for groupby in (["kind"], ["kind", "donor"]):
        rows = sg.tl.response(new, "stim", model=known, groupby=groupby, interval=LEVEL, rng=seed)
        rows = rows[(rows[["n_cells", "n_observed"]] >= FEWEST).all(axis=1)]
        inside = rows["observed_change"].between(rows["lower"], rows["upper"])
        moved = inside[rows["change"].abs() > MOVED]
        shares.append(f"{'|'.join(groupby)} {inside.mean():.3f}, moved {moved.mean():.3f}")
    print(f"{name}, seed {seed}: coverage by {'; by '.join(shares)}")
    sides = [
        [cells[cells.obs["drug"] == drug] for drug in ("ctrl", "stim")] for cells in (new, known)
    ]
    true = calls(*sides[0])
    # as many cells as were measured: a test calls more genes of more cells
    some = np.random.default_rng(seed).permutation(sides[0][0].n_obs)[: sides[0][1].n_obs]
    found = [
        calls(
            sides[0][0],
            sg.tl.simulate(new, "stim", model=known, rng=seed, residuals=residuals)[some],
        )
        for residuals in (False, True)
    ]
    print(
        f"{name}, seed {seed}: {len(true):5d} of {adata.n_vars} genes called; simulated "
        f"{overlap(found[0], true)}, with residuals {overlap(found[1], true)}, other half "
        f"{overlap(calls(*sides[1]), true)}"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name, make in (
        ("two donors", two_donors),
        ("new donors", new_donors),
        ("knock-out", knock_out),
    ):
        for seed in range(3):
            one(name, *make(seed), seed)
