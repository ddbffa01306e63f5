"""Unpaired and fused translation, with baselines: `python tests/benchmarks/translation.py`.

FOSCTTM: fraction of samples closer than the true match, 0 best, .5 chance. Pairs are used only for
scoring."""

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

sys.path.insert(0, str(Path(__file__).parents[1]))

import scgenot as sg
from realdata import load
from scgenot.metrics import foscttm, label_transfer

# gene that encodes each protein, where it is among the 4,000 genes of the set
GENES = {
    "CD3": "CD3D",
    "CD4": "CD4",
    "CD8a": "CD8A",
    "CD14": "CD14",
    "CD15": "FUT4",
    "CD16": "FCGR3A",
    "CD19": "CD19",
    "CD25": "IL2RA",
    "CD56": "NCAM1",
    "CD127": "IL7R",
    "PD-1": "PDCD1",
    "TIGIT": "TIGIT",
}
Row = dict[str, float | str]


def in_sample(
    source: AnnData, target: AnnData, rep: str, seed: int, label: str | None = None
) -> list[Row]:
    """Fit on all cells, the target in another order, and score the translated cells."""
    order = np.random.default_rng(seed).permutation(target.n_obs)
    shuffled = target[order].copy()
    shuffled.obs_names = [f"target-{i}" for i in range(target.n_obs)]
    started = time.perf_counter()
    sg.tl.fit_translation(source, shuffled, use_rep=rep, rng=seed, progress=False)
    seconds = time.perf_counter() - started
    sg.tl.coupling(source, top_k=target.n_obs)
    true, cells = np.asarray(target.obsm[rep]), np.asarray(shuffled.obsm[rep])
    folds = KFold(5, shuffle=True, random_state=seed)
    predicted = {
        "random matching": cells,
        "plain coupling": source.obsm["genot_coupling"] @ cells * source.n_obs,
        "GENOT, one sample": source.obsm["X_genot"],
        "GENOT, mean": source.obsm["X_genot_mean"],
        "ridge, supervised": cross_val_predict(Ridge(1e-2), source.obsm[rep], true, cv=folds),
    }
    rows = []
    for method, values in predicted.items():
        row = {"method": method, "seed": seed, "FOSCTTM": foscttm(values, true), "s": seconds}
        if label:
            row["label transfer"] = label_transfer(
                values, true, source.obs[label], target.obs[label]
            )
        rows.append(row)
    return rows


def snareseq(reverse: bool, seeds: list[int]) -> list[Row]:
    """SNARE-seq cell lines, rows of unit length, in sample."""
    atac, rna = load("snareseq_celllines/atac_topics19"), load("snareseq_celllines/rna_pca10")
    add_unit_rows(atac, rna)
    source, target = (rna, atac) if reverse else (atac, rna)
    return [row for seed in seeds for row in in_sample(source, target, "X_l2", seed, "cell_type")]


def scgem(seeds: list[int]) -> list[Row]:
    """scGEM methylation to RNA, 177 cells, rows of unit length, in sample."""
    methylation, rna = load("scgem_reprogramming/methylation"), load("scgem_reprogramming/rna")
    add_unit_rows(methylation, rna)
    return [row for seed in seeds for row in in_sample(methylation, rna, "X_l2", seed)]


def add_unit_rows(*modalities: AnnData) -> None:
    """Write `obsm["X_l2"]`: X with rows of unit length."""
    for cells in modalities:
        cells.obsm["X_l2"] = cells.X / np.linalg.norm(cells.X, axis=1, keepdims=True)


def citeseq_cells() -> tuple[AnnData, AnnData]:
    """CITE-seq: PCA of RNA, scaled CLR of proteins, genes that encode proteins as shared."""
    rna, protein = load("citeseq_pbmc10k/rna"), load("citeseq_pbmc10k/protein")
    sc.pp.normalize_total(rna, target_sum=1e4)
    sc.pp.log1p(rna)
    sg.tl.embed(rna, method="pca", n_components=50, key_added="pca50")
    sg.tl.embed(rna, method="pca", n_components=30)
    sg.tl.embed(protein, method="clr", scale=True)
    proteins = [name for name in protein.var_names if name in GENES]
    genes = sg.tl.decode(
        rna.obsm["X_pca50"], rna, key="pca50", features=[GENES[name] for name in proteins]
    )
    rna.obsm["X_shared"] = ((genes - genes.mean()) / genes.std()).to_numpy()
    protein.obsm["X_shared"] = protein.obsm["X_clr"][:, protein.var_names.get_indexer(proteins)]
    return rna, protein


def citeseq(fused: bool, seeds: list[int]) -> list[Row]:
    """CITE-seq RNA to protein: fitted on 80 % of the cells, scored on the others, in CLR units."""
    rna, protein = citeseq_cells()
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        order = rng.permutation(rna.n_obs)
        train, test = order[: int(0.8 * rna.n_obs)], order[int(0.8 * rna.n_obs) :]
        source, target = rna[train].copy(), protein[rng.permutation(train)].copy()
        held_out, true = rna[test].copy(), protein[test]
        started = time.perf_counter()
        solver = sg.ot.FusedGromovWasserstein(epsilon=0.02) if fused else None
        shared = "X_shared" if fused else None
        sg.tl.fit_translation(
            source,
            target,
            use_rep=("X_pca", "X_clr"),
            shared_rep=shared,
            solver=solver,
            rng=seed,
            predict=False,
            progress=False,
        )
        sg.tl.predict(held_out, model=source, rng=seed)
        seconds = time.perf_counter() - started
        sg.tl.coupling(held_out, model=source, top_k=target.n_obs)
        ridge = Ridge(1.0).fit(rna.obsm["X_pca"][train], protein.obsm["X_clr"][train])
        predicted = {
            "random matching": target.obsm["X_clr"][: len(test)],
            "plain coupling": held_out.obsm["genot_coupling"] @ target.obsm["X_clr"] * len(test),
            "GENOT, one sample": held_out.obsm["X_genot"],
            "GENOT, mean": held_out.obsm["X_genot_mean"],
            "ridge, supervised": ridge.predict(held_out.obsm["X_pca"]),
        }
        clr = {
            name: sg.tl.decode(values, protein, key="clr").to_numpy()
            for name, values in predicted.items()
        }
        truth = sg.tl.decode(true.obsm["X_clr"], protein, key="clr").to_numpy()
        rows += [
            {"method": n, "seed": seed, **protein_scores(v, truth), "s": seconds}
            for n, v in clr.items()
        ]
        if fused:
            score = foscttm(held_out.obsm["X_shared"], true.obsm["X_shared"])
            rows.append({"method": "shared genes alone", "seed": seed, "FOSCTTM": score})
    return rows


def protein_scores(values: np.ndarray, truth: np.ndarray) -> Row:
    """FOSCTTM, and the median over proteins of the correlation over cells."""
    correlations = [np.corrcoef(values[:, k], truth[:, k])[0, 1] for k in range(truth.shape[1])]
    return {"FOSCTTM": foscttm(values, truth), "protein r": float(np.median(correlations))}


TASKS = {
    "snareseq-atac-rna": lambda seeds: snareseq(False, seeds),
    "snareseq-rna-atac": lambda seeds: snareseq(True, seeds),
    "scgem": scgem,
    "citeseq": lambda seeds: citeseq(False, seeds),
    "citeseq-fused": lambda seeds: citeseq(True, seeds),
}


def main() -> None:
    """Print one table a task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "tasks", nargs="*", help=f"which of {', '.join(TASKS)}; all when none is named"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", FutureWarning)
    for name in args.tasks or TASKS:
        table = pd.DataFrame(TASKS[name](list(range(args.seeds))))
        numbers = (
            table.drop(columns="seed").groupby("method", sort=False).agg(["mean", "min", "max"])
        )
        print(f"\n## {name}\n{numbers.to_string(float_format='{:.3f}'.format)}", flush=True)


if __name__ == "__main__":
    main()
