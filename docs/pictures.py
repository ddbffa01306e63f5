"""Draw the pictures of the README and of these pages: `python docs/pictures.py [NAME ...]`.

The public data sets are those of `SCGENOT_DATA` (see :mod:`scgenot.datasets`), of which all but
`kang_ifnb` can be downloaded. All pictures together take about ten minutes on one core.
"""

import sys
import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

import freshness
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import scanpy as sc
from anndata import AnnData
from PIL import Image
from sklearn.preprocessing import normalize

import scgenot as sg

FOLDER = Path(__file__).parent / "_static"
DONOR = "1244"


def stimulated_blood() -> tuple[AnnData, AnnData]:
    """Control and stimulated cells of all donors but one, and of that donor, represented."""
    adata = sg.datasets.kang_ifnb()
    adata = adata[~adata.obs["donor"].isin(["unmatched", "doublet/amb"])].copy()
    adata.obs["predicted_type"] = adata.obs["predicted_type"].cat.remove_unused_categories()
    sc.pp.filter_genes(adata, min_cells=10)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=1500)
    adata = adata[:, adata.var["highly_variable"]].copy()
    known, new = (
        adata[keep].copy() for keep in (adata.obs["donor"] != DONOR, adata.obs["donor"] == DONOR)
    )
    sg.tl.embed(known, n_components=30)
    sg.tl.project(new, known)
    return known, new


@cache
def fitted_blood() -> tuple[AnnData, AnnData]:
    """As :func:`stimulated_blood`, the others fitted."""
    known, new = stimulated_blood()
    sg.tl.fit_perturbation(
        known, "condition", "ctrl", covariates=["predicted_type", "donor"], progress=False
    )
    return known, new


@cache
def fitted_progenitors() -> AnnData:
    """Blood progenitors of days 4 and 6, the common states, fitted."""
    adata = sg.datasets.larry_clones(progress=False)
    sc.pp.log1p(adata)
    sg.tl.embed(adata, n_components=30)
    common = ["undiff", "Monocyte", "Neutrophil", "Baso", "Mast", "Meg"]
    adata = adata[(adata.obs["day"] >= 4) & adata.obs["state_info"].isin(common)].copy()
    sg.tl.fit_trajectory(adata, "day", progress=False)
    return adata


@cache
def fitted_cell_lines() -> tuple[AnnData, AnnData]:
    """Four cell lines by chromatin and by RNA, translated without pairs."""
    rna, atac = sg.datasets.snareseq_celllines(progress=False)
    for modality in (rna, atac):
        # directions: the counts, and so the depth, are not at hand
        modality.obsm["X_unit"] = normalize(modality.X)
    sg.tl.fit_translation(atac, rna, use_rep="X_unit", progress=False)
    sg.tl.coupling(atac)
    return atac, rna


def readme() -> None:
    """One picture for each task."""
    _, (left, middle, right) = plt.subplots(1, 3, figsize=(18, 4.2), gridspec_kw={"wspace": 0.75})
    atac, rna = fitted_cell_lines()
    sg.pl.translation(atac, rna, color="cell_type", n_lines=0, ax=left, show=False)
    left.set(title="chromatin to RNA, no pairs", xlabel="RNA, PC 1", ylabel="RNA, PC 2")
    adata = fitted_progenitors()
    sg.pl.trajectory(adata, basis="emb", color="state_info", ax=middle, show=False)
    middle.set(title="descendants, day 4 to day 6", xlabel="SPRING 1", ylabel="SPRING 2")
    known, new = fitted_blood()
    sg.tl.predict(new, target="stim", model=known, progress=False)
    new.uns["genot"] = known.uns["genot"]  # the fit, which the plot asks
    sg.pl.perturbation(new, basis="pca", color="predicted_type", ax=right, show=False)
    right.set(title="interferon, a new donor")


def translation() -> None:
    """Which cell line is matched with which."""
    atac, rna = fitted_cell_lines()
    sg.pl.coupling(atac, rna, groupby="cell_type", show=False)


def trajectory() -> None:
    """Fates of the progenitors of day 4."""
    adata = fitted_progenitors()
    ends = ["Monocyte", "Neutrophil", "Baso"]
    sg.tl.fate(adata, "state_info", terminal=ends)
    sg.pl.fate(adata[adata.obs["day"] == 4], basis="emb", groups=ends, show=False)


def perturbation() -> None:
    """Genes of a donor that was not fitted: control, predicted, measured."""
    known, new = fitted_blood()
    treated = sg.tl.simulate(new, target="stim", model=known)
    new.uns["genot"] = known.uns["genot"]
    sg.pl.response(new, treated, ["ISG15", "CXCL10", "IL8", "CD14"], show=False)


def evaluation() -> None:
    """The same donor beside the baselines, within cell types."""
    known, new = fitted_blood()
    table = sg.tl.evaluate(known, new, groupby="predicted_type", min_cells=10)
    print(table.attrs["verdict"])
    sg.pl.evaluation(table, ["edistance", "mmd", "r2_distance"], show=False)


def light_bridge() -> None:
    """What two source cells become: exactly, by the network and by a light bridge."""
    adata = sg.datasets.mixtures(2, 1.0, 3, n_cells=3000)
    law = sg.model.MixtureLaw(**adata.uns["truth"])
    solver = sg.ot.Sinkhorn(epsilon=2 * law.epsilon, relative=False)
    draws = {}
    source = np.array([[-1.2, 0.6], [1.0, -0.8]], dtype=np.float32)
    learners = {"network": None, "light bridge": sg.model.LightBridge()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # epsilon is large here
        for name, learner in learners.items():
            options = {"learner": learner, "predict": False, "progress": False}
            sg.tl.fit_trajectory(adata, "time", solver=solver, **options)
            fit = sg.get.fit(adata)
            condition = np.tile(fit.task.condition(0.0, 1.0), (2, 1))
            draws[name] = np.asarray(fit.model.sample(source, condition, n_samples=400))
    draws = {"exact law": law.sample(source, 400), **draws}
    axes = plt.subplots(1, 3, figsize=(10, 3.4), sharex=True, sharey=True, layout="constrained")[1]
    target = adata.X[3000:]
    for ax, (name, found) in zip(axes, draws.items(), strict=True):
        ax.scatter(*target.T, s=2, color="0.85", label="target cells")
        for cell, cells, color in zip(source, found, ("#D55E00", "#0072B2"), strict=True):
            ax.scatter(*cells.T, s=4, color=color, alpha=0.5)
            ax.plot(*cell, "*", color=color, mec="black", ms=13)
        ax.set(title=name, xticks=[], yticks=[], aspect="equal")


def score_cells() -> None:
    """P-values of new cells of the law that was fitted, and of cells moved out of it."""
    adata = sg.datasets.gaussians(3000, dim=4, epsilon=1.0)
    solver = sg.ot.Sinkhorn(epsilon=1.0, relative=False)
    sg.tl.fit_trajectory(adata, "time", solver=solver, predict=False, progress=False)
    truth, rng = adata.uns["truth"], np.random.default_rng(1)
    cells = rng.multivariate_normal(truth["target_mean"], truth["target_covariance"], 600)
    cells[300:] += 0.5
    kind = np.repeat(["new cells", "moved by half a deviation"], 300)
    obs = {"time": np.ones(600), "kind": kind}
    new = AnnData(cells.astype(np.float32), obs=obs, obsm={"X_pca": cells.astype(np.float32)})
    new.obs_names = [f"new-{k}" for k in range(600)]
    sg.tl.score_cells(new, model=adata)
    sg.pl.score_cells(new, groupby="kind")


DRAW = (readme, translation, trajectory, perturbation, evaluation, light_bridge, score_cells)
PICTURES: dict[str, Callable[[], None]] = {draw.__name__: draw for draw in DRAW}


def save(name: str) -> None:
    """Write the current figure, 128 colours to keep it small."""
    buffer = BytesIO()
    plt.savefig(buffer, dpi=110, bbox_inches="tight")
    Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
        FOLDER / f"{name}.png", optimize=True, pnginfo=freshness.stamp(name)
    )
    plt.close("all")


if __name__ == "__main__":
    mpl.use("Agg")
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name]()
        save(name)
        print(f"wrote {name}.png")
