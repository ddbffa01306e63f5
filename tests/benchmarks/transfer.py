"""Cells without a counterpart, sparse plans and their figures; three seeds.

    python tests/benchmarks/transfer.py            # all of it
    python tests/benchmarks/transfer.py --only types partial sparse

`types`: each cell type in turn is left out of the reference, which is half of the cells; recall and
precision of "unassigned" for the other half; *labels known*: a classifier that is told which of the
other query cells are of the type, five folds. `partial`: entropic partial plans against POT.
`sparse`: plans with at most k targets.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import ot
import scanpy as sc
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1]))

import scgenot as sg
from realdata import load

SETS = {
    "kang_ifnb_labelled": ("kang_ifnb_labelled/kang_muscat", "cluster_id"),
    # the set on which the default price was decided
    "citeseq_pbmc10k": ("citeseq_pbmc10k/rna", "gated_type"),
}
MOST_CELLS = 1600


def read(name: str):
    """Log-normalised cells of the types with 200 cells or more."""
    file, column = SETS[name]
    adata = load(file)
    counts = adata.obs[column].value_counts()
    adata = adata[adata.obs[column].isin(counts.index[counts >= 200])].copy()
    order = np.random.default_rng(0).permutation(adata.n_obs)[:MOST_CELLS]
    adata = adata[order].copy()
    adata.obs[column] = adata.obs[column].astype(str)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    return adata, column


def solvers(share: float, *, geodesic: bool):
    """The default; a price; a share that is known, also with angles, with paths among cells."""
    found = {
        "default": (30, None),
        "price": (30, sg.ot.Sinkhorn(epsilon=0.05, price=0.25)),
        "keep": (30, sg.ot.Sinkhorn(keep=share)),
        "keep, cosine, 10 components": (10, sg.ot.Sinkhorn(keep=share, cost=sg.ot.cosine)),
    }
    if geodesic:  # makes a graph of all cells each time
        cost = sg.ot.Geodesic()
        found["keep, geodesic"] = 30, sg.ot.Sinkhorn(epsilon=0.02, keep=share, cost=cost)
    return found


def types(seeds: int, sets) -> None:
    """Recall and precision of each type when the reference lacks it."""
    print("set, components of, solver, type: recall, precision, accuracy of kept cells; by seed")
    for name in sets:
        adata, column = read(name)
        for out in sorted(adata.obs[column].unique()):
            found = {}
            for seed in range(seeds):
                order = np.random.default_rng(seed).permutation(adata.n_obs)
                query, reference = (adata[order[k::2]].copy() for k in (0, 1))
                reference = reference[reference.obs[column] != out].copy()
                gone = (query.obs[column] == out).to_numpy()
                for of in ("all cells", "the reference"):
                    place(query, reference, of)
                    row = with_labels(query.obsm["X_pca"], gone)
                    found.setdefault((of, "labels known"), []).append(row)
                    some = solvers(float(1 - gone.mean()), geodesic=of == "all cells")
                    for label, (k, solver) in some.items():
                        for side in (query, reference):
                            side.obsm["X_some"] = side.obsm["X_pca"][:, :k]
                        sg.tl.transfer(
                            query, reference, column, use_rep="X_some", solver=solver, key_added="t"
                        )
                        left = (query.obs["t"] == "unassigned").to_numpy()
                        hit = (left & gone).sum()
                        right = (query.obs["t"].astype(str) == query.obs[column])[~left & ~gone]
                        row = hit / gone.sum(), hit / max(1, left.sum()), right.mean()
                        found.setdefault((of, label), []).append(row)
            for (of, label), rows in found.items():
                shown = "; ".join("/".join(f"{value:.2f}" for value in row) for row in rows)
                means = "/".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
                print(f"{name}, {of}, {label}, {out}: mean {means} ({shown})", flush=True)


def with_labels(cells: np.ndarray, gone: np.ndarray) -> tuple[float, float, float]:
    """Recall and precision where the answer of other query cells is known: about the most."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    said = cross_val_predict(model, cells, gone, cv=5)
    hit = (said & gone).sum()
    return hit / gone.sum(), hit / max(1, said.sum()), np.nan


def place(query, reference, of: str) -> None:
    """Embed both sides, in components of all cells or of the reference alone."""
    if of == "the reference":
        sg.tl.embed(reference, n_components=30, mask_var=None)
        query.obsm.pop("X_pca", None)
        sg.tl.project(query, reference)
        return
    both = ad.concat([query, reference], keys=["query", "reference"], index_unique="_")
    sg.tl.embed(both, n_components=30, mask_var=None, adjust=False)
    query.obsm["X_pca"] = both.obsm["X_pca"][: query.n_obs]
    reference.obsm["X_pca"] = both.obsm["X_pca"][query.n_obs :]


def partial(seeds: int, _sets) -> None:
    """L1 distance of entropic partial plans from POT's, 50 x 50."""
    print("weights, price, mass: L1 distance from POT's entropic partial plan; seconds, POT's")
    for seed in range(seeds):
        for uniform in (True, False):
            for price in (0.1, 0.3, 0.5, 1.0):
                rng = np.random.default_rng(seed)
                weights = None if uniform else rng.uniform(0.2, 2, (2, 50))
                a, b = (None, None) if uniform else weights
                x, y = rng.normal(size=(50, 3)), rng.normal([1.0, 0, 0], size=(50, 3))
                pair = sg.Pair(x, y, source_weights=a, target_weights=b)
                solver = sg.ot.Sinkhorn(
                    epsilon=0.3,
                    price=price,
                    relative=False,
                    tolerance=1e-12,
                    max_iterations=20_000,
                    dtype=torch.float64,
                )
                start = time.process_time()
                coupling = solver(pair)
                ours = time.process_time() - start
                plan = np.concatenate([mass.numpy() for _, mass in coupling.mass_blocks()])
                a, b = pair.source_weights, pair.target_weights
                cost = ot.dist(x, y) - 0.3 * np.log(np.outer(a, b))
                start = time.process_time()
                other = ot.partial.entropic_partial_wasserstein(
                    a, b, cost, 0.3, m=plan.sum(), numItermax=200_000, stopThr=1e-15
                )
                theirs = time.process_time() - start
                error = np.abs(plan - other).sum()
                kind = "uniform" if uniform else "uneven"
                print(
                    f"{kind}, {price}, {plan.sum():.3f}: {error:.1e}; {ours:.2f}, {theirs:.2f}",
                    flush=True,
                )


def sparse(seeds: int, _sets) -> None:
    """Cost, columns and time of plans with at most k targets."""
    print("n, k: objective less exact transport or POT's l2, mean cost, column error, targets, s")
    for seed in range(seeds):
        for n in (60, 1000):
            rng = np.random.default_rng(seed)
            x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 5)) + 0.5
            cost, a = ot.dist(x, y), np.full(n, 1 / n)
            for k in (n, 10, 5, 2, 1):
                start = time.process_time()
                plan = sg.ot.SparseOT(max_targets=k, tolerance=1e-6 if n == 60 else 1e-3)(
                    sg.Pair(x, y)
                )
                spent, found = time.process_time() - start, plan.diagnostics
                gamma, difference = found.epsilon_absolute, float("nan")
                if k == 1:
                    difference = found.objective - gamma / 2 / n - ot.emd2(a, a, cost)
                if k == n == 60:
                    other = ot.smooth.smooth_ot_semi_dual(
                        a, a, cost, gamma, reg_type="l2", numItermax=20_000, stopThr=1e-14
                    )
                    value = (other * cost).sum() + gamma / 2 * (other**2).sum()
                    difference = found.objective - value
                print(
                    f"{n}, {k}: {difference:.1e}, {found.cost:.4f}, {found.marginal_error:.1e}, "
                    f"{plan.mass.nnz / n:.2f}, {spent:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    parts = {"partial": partial, "sparse": sparse, "types": types}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in options.only:
            parts[part](options.seeds, options.sets)
