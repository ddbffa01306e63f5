"""Draw the pictures of the README, the guides and the pages of plots.

`python docs/pictures.py [NAME ...]` draws all or some, `--stale` those whose code has changed. Each
picture keeps a digest of the code that drew it, which a test compares. The public data sets are
those of `SCGENOT_DATA` (see :mod:`scgenot.datasets`), of which all but `kang_ifnb` and
`ova_tcell_doses` can be downloaded. All pictures take about fifteen minutes on one core.
"""

import ast
import inspect
import sys
import warnings
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from PIL import Image, PngImagePlugin
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
    sg.pl.trajectory(adata, basis="pca", color="state_info", ax=middle, show=False)
    middle.set(title="descendants, day 4 to day 6", xlabel="PC 1", ylabel="PC 2")
    new, _ = predicted_blood()
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
    new, treated = predicted_blood()
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


@cache
def predicted_blood() -> tuple[AnnData, AnnData]:
    """The donor that was not fitted, with a prediction, and simulated cells of it."""
    known, new = fitted_blood()
    sg.tl.predict(new, target="stim", model=known, progress=False)
    treated = sg.tl.simulate(new, target="stim", model=known, residuals=True)
    new.uns["genot"] = known.uns["genot"]  # the fit, which plots ask
    return new, treated


@cache
def changes() -> pd.DataFrame:
    """Predicted and measured changes of that donor, by cell type."""
    known, new = fitted_blood()
    return sg.tl.response(new, "stim", model=known, groupby="predicted_type")


def pl_calibration() -> None:
    """Half of the cells of that donor calibrate, the others count."""
    known, new = fitted_blood()
    first = np.arange(new.n_obs) % 2 == 0
    sg.tl.calibrate(known, held_out=new[first].copy(), groupby=["predicted_type"])
    sg.pl.calibration(sg.tl.coverage(new[~first].copy(), model=known), show=False)


def pl_choice() -> None:
    """What `auto` compares for a new donor."""
    known, _ = stimulated_blood()
    solvers = [sg.ot.Sinkhorn(epsilon=0.02), sg.ot.Sinkhorn(epsilon=0.005)]
    sg.tl.fit_perturbation(
        known, "condition", "ctrl", covariates=["predicted_type", "donor"], solver=solvers,
        hold_out="donor", progress=False,
    )  # fmt: skip
    sg.pl.choice(known, show=False)


def pl_coupling() -> None:
    """Cell lines."""
    atac, rna = fitted_cell_lines()
    sg.pl.coupling(atac, rna, groupby="cell_type", show=False)


def pl_dose_response() -> None:
    """T cells under four doses of their antigen; one dose is left out and drawn as predicted."""
    adata = sg.datasets.ova_tcell_doses()
    chosen = (adata.obs["treatment"] == "Stim-C") & (adata.obs["crude_type"] == "CD4_T")
    adata = adata[chosen].copy()
    adata.obs["drug"] = np.where(adata.obs["ova_conc"] == 0, "none", "OVA")
    known = adata[adata.obs["ova_conc"] != 0.05].copy()
    sg.tl.fit_perturbation(known, "drug", "none", dose_key="ova_conc", use_rep="X", progress=False)
    doses = [0.0, 0.005, 0.016, 0.05, 0.16, 0.5]
    simulated = sg.tl.simulate(adata, "OVA", dose=doses, model=known, progress=False)
    adata.uns["genot"] = known.uns["genot"]
    sg.pl.dose_response(adata, simulated, ["CD69", "CD44"], show=False)


def pl_evaluation() -> None:
    """All metrics."""
    known, new = fitted_blood()
    table = sg.tl.evaluate(known, new, groupby="predicted_type", min_cells=10)
    sg.pl.evaluation(table, show=False)


def pl_fate() -> None:
    """Fates of the progenitors of day 4, and means by state."""
    adata = fitted_progenitors()
    sg.tl.fate(adata, "state_info", terminal=["Monocyte", "Neutrophil"])
    sg.pl.fate(adata, basis="emb", groupby="state_info", show=False)


def pl_growth() -> None:
    """Growth of the progenitors of day 4, were it free at the earlier day."""
    adata = fitted_progenitors().copy()
    sg.tl.fit_trajectory(
        adata, "day", solver=sg.ot.Sinkhorn(tau=(0.8, 1)), key_added="free", progress=False
    )
    sg.pl.growth(adata, key="free", basis="emb", groupby="state_info", show=False)


@cache
def stem_cells() -> tuple[AnnData, AnnData]:
    """Embryonic stem cells on four days, fitted without day 4, and the cells of that day."""
    adata = sg.datasets.klein_mesc(progress=False)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=1000)
    known, left = (adata[keep].copy() for keep in (adata.obs["day"] != 4, adata.obs["day"] == 4))
    sg.tl.embed(known, n_components=30)
    sg.tl.project(left, known)
    sg.tl.fit_trajectory(known, "day", progress=False)
    return known, left


def pl_interpolation() -> None:
    """The day that was left out."""
    known, left = stem_cells()
    before, after = (known[known.obs["day"] == day] for day in (2, 7))
    made = {"day 2": before, "day 4, predicted": sg.tl.interpolate(known, 4), "day 7": after}
    sg.pl.interpolation(made, left, show=False)


def pl_perturbation() -> None:
    """The new donor in the space of the fit."""
    sg.pl.perturbation(predicted_blood()[0], basis="pca", color="predicted_type", show=False)


@cache
def donors() -> AnnData:
    """Blood of all donors, control and stimulated, each a population."""
    adata = sg.datasets.kang_ifnb()
    adata = adata[~adata.obs["donor"].isin(["unmatched", "doublet/amb"])].copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=1500)
    sg.tl.embed(adata, n_components=30)
    for column in ("donor", "condition"):
        adata.obs[column] = adata.obs[column].cat.remove_unused_categories()
    adata.obs["sample"] = adata.obs["donor"].astype(str) + " " + adata.obs["condition"].astype(str)
    return adata


def pl_population_distances() -> None:
    """Which samples are alike."""
    adata = donors()
    sg.tl.population_distances(adata, "sample", progress=False)
    sg.pl.population_distances(adata, color=["donor", "condition"], show=False)


def pl_populations() -> None:
    """Simulated patients, and others of the same law in place of generated ones."""
    measured, other = (sg.datasets.cohort(30, n_types=1, rng=seed) for seed in (0, 1))
    sg.pl.populations(measured, "patient", generated=other, color="place", show=False)


def pl_pull() -> None:
    """Ancestors of monocytes."""
    adata = fitted_progenitors()
    sg.tl.pull(adata, "Monocyte", groupby="state_info")
    sg.pl.pull(adata, basis="emb", show=False)


def pl_push() -> None:
    """Descendants of undifferentiated cells."""
    adata = fitted_progenitors()
    sg.tl.push(adata, "undiff", groupby="state_info")
    sg.pl.push(adata, basis="emb", show=False)


def pl_response() -> None:
    """Genes by type, with what components leave out."""
    new, treated = predicted_blood()
    genes = ["ISG15", "CXCL10", "IL8", "CD14"]
    sg.pl.response(new, treated, genes, groupby="predicted_type", show=False)


def pl_response_heatmap() -> None:
    """The most changed genes by type."""
    sg.pl.response_heatmap(changes(), show=False)


def pl_score_cells() -> None:
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
    sg.pl.score_cells(new, groupby="kind", show=False)


def pl_training() -> None:
    """A fit that was validated."""
    sg.pl.training(fitted_progenitors(), show=False)


def pl_trajectory() -> None:
    """Days 4 and 6 in the space of the fit."""
    sg.pl.trajectory(fitted_progenitors(), basis="pca", color="state_info", show=False)


def pl_transition() -> None:
    """States of day 4 and of day 6."""
    adata = fitted_progenitors()
    table = sg.tl.cell_transition(adata, "state_info", "state_info")
    sg.pl.transition(table, show=False)


def pl_translation() -> None:
    """Cell lines, in the space of RNA."""
    atac, rna = fitted_cell_lines()
    sg.pl.translation(atac, rna, color="cell_type", show=False)


def pl_velocity() -> None:
    """Progenitors."""
    adata = fitted_progenitors()
    sg.tl.velocity(adata, basis="emb")
    sg.pl.velocity(adata, basis="emb", color="state_info", show=False)


GUIDES = (readme, translation, trajectory, perturbation, evaluation, light_bridge)
PICTURES: dict[str, Callable[[], None]] = {draw.__name__: draw for draw in GUIDES}
PICTURES |= {f"pl/{name}": globals()[f"pl_{name}"] for name in sg.pl.__all__}


def digest(name: str) -> str:
    """Return a digest of the code of a picture: its function, and the plots that this calls."""
    tree = ast.parse(inspect.getsource(PICTURES[name]))
    plots = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sg.pl"
    }
    modules = sorted(modules_of([getattr(sg.pl, plot).__wrapped__.__module__ for plot in plots]))
    trees = [tree, *(ast.parse(inspect.getsource(sys.modules[module])) for module in modules)]
    for node in [node for one in trees for node in ast.walk(one)]:
        body = getattr(node, "body", None)
        text = isinstance(body, list) and body and isinstance(body[0], ast.Expr)
        if text and isinstance(body[0].value, ast.Constant):
            del body[0]  # the docstring
    return sha256("".join(map(dumped, trees)).encode()).hexdigest()[:16]


def dumped(tree: ast.AST) -> str:
    """Return a syntax tree as text, the same for each version of Python."""
    options = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **options).replace(", type_params=[]", "")


def modules_of(names: list[str]) -> set[str]:
    """Return some modules, and those of `scgenot.pl` that they import."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            tree = ast.parse(inspect.getsource(sys.modules[name]))
            named = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            names += [module for module in named if str(module).startswith("scgenot.pl.")]
    return found


def stored_digest(name: str) -> str | None:
    """Return the digest that a picture keeps; None where there is no picture."""
    file = FOLDER / f"{name}.png"
    if not file.is_file():
        return None
    with Image.open(file) as picture:
        return picture.text.get("code")


def save(name: str) -> None:
    """Write the current figure, 256 colours to keep it small."""
    buffer, about = BytesIO(), PngImagePlugin.PngInfo()
    plt.savefig(buffer, dpi=110, bbox_inches="tight")
    about.add_text("code", digest(name))
    file = FOLDER / f"{name}.png"
    file.parent.mkdir(exist_ok=True)
    picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(file, optimize=True, pnginfo=about)
    plt.close("all")


if __name__ == "__main__":
    mpl.use("Agg")
    asked = sys.argv[1:] or list(PICTURES)
    if asked == ["--stale"]:
        asked = [name for name in PICTURES if stored_digest(name) != digest(name)]
    for name in asked:
        PICTURES[name]()
        save(name)
        print(f"wrote {name}.png", flush=True)
