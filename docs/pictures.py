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


COLORS = "#D55E00", "#0072B2"


def monge_map() -> None:
    """Where cells of two moons go: along a known optimal map, and by two that are fitted."""
    draw = np.random.default_rng(0)

    def moons() -> np.ndarray:
        angle, which = draw.uniform(0, np.pi, 1000), draw.integers(2, size=1000)
        x = np.column_stack([np.cos(angle), np.sin(angle)])
        x[which == 1] = [1, 0.5] - x[which == 1]
        return x + 0.08 * draw.normal(size=x.shape)

    # as in `tests/benchmarks/maps.py`
    steep = np.random.default_rng([0, 1])
    slopes, places = steep.normal(size=(4, 2)), steep.uniform(-0.5, 0.5, 4)
    slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)

    def optimal(x: np.ndarray) -> np.ndarray:
        return 0.1 * x + (1 / (1 + np.exp(-20 * (x @ slopes.T - places)))) @ slopes

    source, target = moons(), optimal(moons())
    cells = AnnData(np.vstack([source, target]).astype(np.float32))
    cells.obs["time"] = np.repeat([0, 1], 1000)
    options = {"use_rep": "X", "learner": sg.model.MongeMap(), "progress": False}
    sg.tl.fit_trajectory(cells, "time", **options)
    found = {
        "known optimal map": optimal(source),
        "Monge map": cells.obsm["X_genot"][:1000],
        "Gaussian map": sg.baselines.gaussian_map(source, target, source),
    }
    axes = plt.subplots(1, 3, figsize=(10, 3.2), sharex=True, sharey=True, layout="constrained")[1]
    for ax, (name, mapped) in zip(axes, found.items(), strict=True):
        ax.plot(*np.stack([source, mapped])[:, ::10].transpose(2, 0, 1), color="0.8", lw=0.7)
        for side, color, label in zip((source, mapped), COLORS, ("source", "mapped"), strict=True):
            ax.scatter(*side.T, s=2, color=color, label=label)
        ax.set(title=name, xticks=[], yticks=[], aspect="equal")
    axes[0].legend(markerscale=4, frameon=False, fontsize=8)


def sparse_map() -> None:
    """Changes of genes by cell: true, by a sparse and by a dense map."""
    adata = sg.datasets.sparse_drug(rng=7)
    control = (adata.obs["drug"] == "control").to_numpy()
    order = np.argsort(adata.obs["cell_type"][control], kind="stable")
    found = {"true change": adata.layers["change"][control]}
    sparse = sg.model.MongeMap(sparsity=sg.model.Sparsity(n_features=5))
    for name, learner in {"sparse map": sparse, "dense map": sg.model.MongeMap()}.items():
        options = {"use_rep": "X", "learner": learner, "progress": False}
        sg.tl.fit_perturbation(adata, "drug", "control", **options)
        found[name] = (adata.obsm["X_genot"] - adata.X)[control]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
    for ax, (name, change) in zip(axes, found.items(), strict=True):
        image = ax.imshow(change[order], cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto")
        ax.set(title=name, xlabel="gene")
    axes[0].set(ylabel="control cell, by type", yticks=[])
    figure.colorbar(image, ax=axes, label="change")


def elastic() -> None:
    """Displacements by the coupling of an elastic cost, more and more sparse."""
    draw, shift = np.random.default_rng(0), np.zeros(20)
    shift[:3] = 2, -3, 1.5
    pair = sg.Pair(draw.normal(size=(400, 20)), draw.normal(size=(400, 20)) + shift)
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.2), sharey=True, layout="constrained")
    for ax, strength in zip(axes, (0, 1, 4, 10), strict=True):
        cost = sg.ot.elastic(strength) if strength else sg.ot.elastic(1e-6)
        moved = sg.ot.Sinkhorn(cost=cost, epsilon=0.05)(pair).displacement()
        image = ax.imshow(moved, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
        ax.set(title=f"strength {strength}", xlabel="feature")
    axes[0].set(ylabel="cell", yticks=[])
    figure.colorbar(image, ax=axes, label="displacement")


def partial_coupling() -> None:
    """Matched shares of cells of which one type, between two others, is not in the reference."""
    draw = np.random.default_rng(0)
    centers = np.array([[0, 0], [6, 0], [2.6, 1.4]])
    query = np.concatenate([center + draw.normal(size=(300, 2)) * 0.7 for center in centers])
    reference = np.concatenate(
        [center + draw.normal(size=(450, 2)) * 0.7 for center in centers[:2]]
    )
    solvers = {
        "reference": None,
        "Neighbors()": sg.ot.Neighbors(),
        "Sinkhorn(price=0.25)": sg.ot.Sinkhorn(price=0.25),
    }
    figure, axes = plt.subplots(
        1, 3, figsize=(10, 2.6), sharex=True, sharey=True, layout="constrained"
    )
    for ax, (name, solver) in zip(axes, solvers.items(), strict=True):
        if solver is None:
            ax.scatter(*reference.T, s=4, color="0.5")
        else:
            kept = solver(sg.Pair(query, reference)).kept()[0]
            image = ax.scatter(*query.T, s=4, c=kept, cmap="viridis", vmin=0, vmax=1)
        ax.set(title=name, xticks=[], yticks=[], aspect="equal")
    figure.colorbar(image, ax=axes, label="matched share of a query cell")


def sparse_plan() -> None:
    """The same cells under an entropic plan and under plans with few targets."""
    draw = np.random.default_rng(1)
    shift = np.array([4, 0])
    pair = sg.Pair(draw.normal(size=(40, 2)), draw.normal(size=(40, 2)) + shift)
    solvers = {
        "Sinkhorn()": sg.ot.Sinkhorn(),
        "SparseOT(max_targets=3)": sg.ot.SparseOT(max_targets=3, gamma=0.2, tolerance=0.2),
        "SparseOT(max_targets=1)": sg.ot.SparseOT(max_targets=1),
    }
    axes = plt.subplots(1, 3, figsize=(10, 2.8), sharex=True, sharey=True, layout="constrained")[1]
    for ax, (name, solver) in zip(axes, solvers.items(), strict=True):
        mass = solver(pair).to_sparse().tocoo()
        for i, j, value in zip(mass.row, mass.col, mass.data, strict=True):
            ends = np.stack([pair.source[i], pair.target[j]])
            ax.plot(*ends.T, color="0.3", lw=1, alpha=min(1.0, 40 * value))
        for side, color in zip((pair.source, pair.target), COLORS, strict=True):
            ax.scatter(*side.T, s=14, color=color, zorder=2)
        ax.set(title=name, xticks=[], yticks=[], aspect="equal")


@cache
def fitted_mixture() -> sg.Genot:
    """A model of two dimensions whose distributions are Gaussian mixtures."""
    adata = sg.datasets.mixtures(2, 1.0, 3, n_cells=3000)
    pair = sg.Pair(adata.X[:3000], adata.X[3000:])
    plan = sg.ot.Sinkhorn(epsilon=0.4)(pair)
    link = sg.Link(pair, plan=plan)
    return sg.model.FlowMatching()([link], sg.model.Run(progress=False)).model


def integrators() -> None:
    """From noise to samples of one cell, first coordinate, with and without noise on the way."""
    model, source = fitted_mixture(), np.array([[1.0, -0.8]], dtype=np.float32)
    axes = plt.subplots(1, 2, figsize=(8, 3), sharex=True, sharey=True, layout="constrained")[1]
    chosen = {"ODE": sg.flow.ODE("midpoint", steps=50), "SDE": sg.flow.SDE(noise=1.0, steps=50)}
    for ax, (name, integrator) in zip(axes, chosen.items(), strict=True):
        path = []

        def recorded(velocity, z, *, generator, integrator=integrator, path=path):
            def seen(t, z):
                path.append((float(t), z[0, :, 0].clone()))
                return velocity(t, z)

            return integrator(seen, z, generator=generator)

        model.sample(source, n_samples=30, integrator=recorded)
        times, places = zip(*path[::2], strict=True)
        ax.plot(times, np.stack(places), color=COLORS[name == "SDE"], lw=0.7, alpha=0.7)
        ax.set(title=f"sg.flow.{name}", xlabel="time")
    axes[0].set_ylabel("first coordinate")


def distillation() -> None:
    """Samples of two cells by twelve evaluations of the field and by one."""
    model = fitted_mixture()
    source = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    student = sg.model.distill(model, source, progress=False)
    cells = np.array([[-1.2, 0.6], [1.0, -0.8]], dtype=np.float32)
    axes = plt.subplots(1, 2, figsize=(7, 3.2), sharex=True, sharey=True, layout="constrained")[1]
    for ax, (name, one) in zip(
        axes, {"twelve evaluations": model, "one evaluation": student}.items(), strict=True
    ):
        for cell, draws, color in zip(cells, one.sample(cells, n_samples=400), COLORS, strict=True):
            ax.scatter(*draws.T, s=4, color=color, alpha=0.5)
            ax.plot(*cell, "*", color=color, mec="black", ms=13)
        ax.set(title=name, xticks=[], yticks=[], aspect="equal")


def counterfactual() -> None:
    """Effects of cells under one drug against those of the same cells under another."""
    adata = sg.datasets.screen(1000, drugs=2, combinations=False, heterogeneity=0.5, rng=0)
    options = {"covariates": ["cell_type", "donor"], "predict": False, "progress": False}
    sg.tl.fit_perturbation(adata, "drug", "control", use_rep="X_latent", **options)
    treated = adata[adata.obs["drug"] == "D1"].copy()
    made = {"model": adata, "decoder": pd.DataFrame}
    found = sg.tl.counterfactual(treated, "D2", **made)
    control = adata[found.obs["control_cell"].to_numpy()].copy()
    control.obs_names_make_unique()
    drawn = sg.tl.simulate(control, "D2", progress=False, **made)
    one, two = adata.uns["embedding"].to_numpy() @ adata.uns["truth"]["mechanism"]
    untreated = treated.obsm["X_untreated"]
    true = (treated.obsm["X_latent"] - untreated) @ one / (one @ one)
    axes = plt.subplots(1, 2, figsize=(7, 3.4), sharex=True, sharey=True, layout="constrained")[1]
    for ax, (name, cells) in zip(
        axes, {"counterfactual": found, "new sample": drawn}.items(), strict=True
    ):
        effect = (cells.X - untreated) @ two / (two @ two)
        ax.scatter(true, effect, s=4, color=COLORS[1], alpha=0.5)
        ax.axline((1, 1), slope=1, color="0.6", lw=1)
        ax.set(title=name, xlabel="true effect of D2 on the cell")
    axes[0].set_ylabel("predicted effect")


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


METHODS = (monge_map, sparse_map, elastic, light_bridge, integrators, distillation)
METHODS += (counterfactual, partial_coupling, sparse_plan)
GUIDES = (readme, translation, trajectory, perturbation, evaluation, *METHODS)
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
