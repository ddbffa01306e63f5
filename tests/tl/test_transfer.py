"""Labels across objects, and cells without a counterpart, as an analyst calls them."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad

import scgenot as sg
from realdata import load

TYPES = ["T", "B", "mono"]
QUICK = sg.model.FlowMatching(steps=10, batch_size=64, validation_every=5)


def blobs(n=60, types=TYPES, seed=0, prefix="c", extra=None) -> AnnData:
    """Well separated types, `n` cells each."""
    rng = np.random.default_rng(seed)
    label = np.repeat(types, n)
    centres = {"T": [0, 0, 0], "B": [12, 0, 0], "mono": [0, 12, 0]}
    x = np.array([centres[one] for one in label]) + rng.normal(size=(len(label), 3))
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(label)}, index=[f"{prefix}{i}" for i in range(len(label))]
    )
    return AnnData(x.astype("float32"), obs=obs, obsm={"X_pca": x})


def test_a_type_that_the_reference_lacks_is_unassigned(tmp_path):
    query, reference = blobs(seed=1), blobs(types=["T", "B"], prefix="r")
    truth = query.obs["cell_type"].astype(str).to_numpy()
    del query.obs["cell_type"]
    sg.tl.transfer(query, reference, "cell_type")
    found = query.obs["genot_transferred_cell_type"]
    assert list(found) == list(np.where(truth == "mono", "unassigned", truth))
    table = query.obsm["genot_transferred_cell_type"]
    assert list(table) == ["B", "T", "unassigned"]
    assert np.allclose(table.sum(axis=1), 1)
    probability = query.obs["genot_transferred_cell_type_probability"]
    assert np.allclose(table.max(axis=1), probability)
    kept = query.obs["genot_transferred_cell_type_kept"]
    assert np.allclose(1 - table["unassigned"], kept)
    assert query.uns["genot_transferred_cell_type"]["diagnostics"]["converged"]
    query.write_h5ad(tmp_path / "query.h5ad")
    again = read_h5ad(tmp_path / "query.h5ad")
    assert list(again.obs["genot_transferred_cell_type"]) == list(found)
    assert np.allclose(again.obsm["genot_transferred_cell_type"], table)


def test_a_balanced_solver_assigns_every_cell():
    query, reference = blobs(seed=1), blobs(prefix="r")
    copied = sg.tl.transfer(
        query, reference, "cell_type", solver=sg.ot.Sinkhorn(), key_added="type", copy=True
    )
    assert "type" not in query.obs
    assert (copied.obs["type"].astype(str) == query.obs["cell_type"].astype(str)).all()
    assert "type_kept" not in copied.obs
    assert "unassigned" not in copied.obsm["type"]


def test_numbers_are_carried_and_missing_where_nothing_is_kept():
    query, reference = blobs(seed=1), blobs(types=["T", "B"], prefix="r")
    reference.obs["age"] = np.where(reference.obs["cell_type"] == "T", 1.0, 3.0)
    sg.tl.transfer(query, reference, "age")
    found = query.obs["genot_transferred_age"].to_numpy()
    assert np.allclose(found[:60], 1, atol=1e-3)
    assert np.allclose(found[60:120], 3, atol=1e-3)
    assert np.isnan(found[120:]).all()
    assert "genot_transferred_age" not in query.obsm


def test_cells_without_the_representation_are_placed_in_that_of_the_reference():
    rng = np.random.default_rng(0)
    profile = rng.gamma(1.0, 1.0, size=(3, 40))
    cells = {}
    for k, name in enumerate(("query", "reference")):
        label = np.repeat(TYPES, 50)
        x = np.log1p(rng.poisson(5 * profile[np.repeat([0, 1, 2], 50)])).astype("float32")
        cells[name] = AnnData(
            x, obs=pd.DataFrame({"t": label}, index=[f"{k}{i}" for i in range(150)])
        )
    sg.tl.embed(cells["reference"], n_components=10, mask_var=None)
    sg.tl.transfer(cells["query"], cells["reference"], "t")
    found = cells["query"].obs["genot_transferred_t"]
    kept = found != "unassigned"
    assert kept.mean() > 0.9
    assert (found == cells["query"].obs["t"])[kept].all()
    other = cells["query"].copy()
    sg.tl.embed(other, n_components=10, mask_var=None)
    with pytest.raises(ValueError, match="another embedding"):
        sg.tl.transfer(other, cells["reference"], "t")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"column": "nothing"}, KeyError, "`column='nothing'`"),
        ({"use_rep": "X_no"}, KeyError, "X_no"),
        ({"solver": 3}, TypeError, "solver"),
        ({"solver": sg.ot.Sinkhorn(price=1e-6)}, ValueError, "nothing is matched"),
        ({"solver": None}, ValueError, "No query cell has a counterpart in `reference`"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
        ({"rng": "a"}, TypeError, "rng"),
        ({"device": "nowhere"}, ValueError, "device"),
    ],
)
@pytest.mark.filterwarnings("ignore:Only 0% of the query cells:UserWarning")
def test_wrong_input_is_named_and_changes_nothing(options, error, text):
    query, reference = blobs(seed=1), blobs(prefix="r")
    if "solver" in options:
        query.obsm["X_pca"] = query.obsm["X_pca"] + 1000
    before = set(query.obs), set(query.obsm), set(query.uns)
    options = {"column": "cell_type", **options}
    with pytest.raises(error, match=text):
        sg.tl.transfer(query, reference, options.pop("column"), **options)
    assert (set(query.obs), set(query.obsm), set(query.uns)) == before
    reference.obs["cell_type"] = pd.Categorical([None] * reference.n_obs, categories=TYPES)
    with pytest.raises(ValueError, match="cell_type"):
        sg.tl.transfer(query, reference, "cell_type")


def test_sides_that_are_apart_are_matched_by_distance_with_a_warning():
    query, reference = blobs(seed=1), blobs(prefix="r")
    query.obsm["X_pca"] = query.obsm["X_pca"] + 4.0
    with pytest.warns(UserWarning, match=r"Only \d+% of the query cells lie among reference cells"):
        sg.tl.transfer(query, reference, "cell_type")
    assert query.uns["genot_transferred_cell_type"]["solver"]["type"] == "Sinkhorn"
    found = query.obs["genot_transferred_cell_type"].astype(str)
    kept = found != "unassigned"
    assert kept.mean() > 0.5
    # blobs 12 apart, moved by 4 along each axis: half of the way for some cells
    assert (found == query.obs["cell_type"].astype(str))[kept].mean() > 0.95
    sg.tl.transfer(query, reference, "cell_type", solver=sg.ot.Neighbors())  # says nothing
    assert (query.obs["genot_transferred_cell_type"] == "unassigned").mean() > 0.5


PARTIAL = sg.ot.Sinkhorn(price=0.2, tolerance=1e-6)


def course(solver=PARTIAL) -> AnnData:
    """Three times; the monocytes come at time 1 only, the B cells are gone at time 2."""
    kinds = {0: ["T", "B"], 1: ["T", "B", "mono"], 2: ["T", "mono"]}
    parts = [blobs(40, kinds[t], seed=t, prefix=f"{t}_") for t in kinds]
    adata = AnnData(
        np.concatenate([part.X for part in parts]),
        obs=pd.concat([part.obs.assign(day=t) for t, part in zip(kinds, parts, strict=True)]),
    )
    adata.obs["cell_type"] = adata.obs["cell_type"].astype("category")
    adata.obsm["X_pca"] = np.concatenate([part.obsm["X_pca"] for part in parts])
    sg.tl.fit_trajectory(adata, "day", solver=solver, learner=QUICK, predict=False, progress=False)
    return adata


@pytest.fixture(scope="module")
def fitted():
    return course()


@pytest.mark.medium
def test_time_courses_know_who_has_no_ancestor_and_no_descendant(fitted, tmp_path):
    fitted = fitted.copy()
    file = tmp_path / "course.h5ad"
    fitted.write_h5ad(file)
    for adata in (fitted, read_h5ad(file)):
        table = sg.tl.cell_transition(adata, "cell_type", "cell_type", start=0, end=1)
        # as many T and B cells at both times, but each third of time 1 is a half at time 0
        assert list(table) == ["B", "T", "mono", "unassigned"]
        assert np.allclose(table.sum(axis=1), 1)
        assert table["unassigned"].to_numpy() == pytest.approx([1 / 3, 1 / 3], abs=0.02)
        table = sg.tl.cell_transition(
            adata, "cell_type", "cell_type", start=0, end=1, direction="backward"
        )
        assert np.allclose(table.sum(axis=0), 1)
        assert table.loc["unassigned"].to_numpy() == pytest.approx([0, 0, 1], abs=0.02)
        table = sg.tl.cell_transition(adata, "cell_type", "cell_type", start=0, end=2)
        # of T cells two thirds go on, and all of these do again
        assert table.loc["T", "unassigned"] == pytest.approx(1 / 3, abs=0.02)
        assert table.loc["B", "unassigned"] == pytest.approx(1, abs=0.02)
        sg.pl.transition(table)

        sg.tl.annotate(adata, "cell_type", start=0, end=2)
        found = adata.obs["genot_annotated_cell_type"]
        kind, day = adata.obs["cell_type"].astype(str), adata.obs["day"]
        assert (found[day < 2] == np.where(kind == "mono", "unassigned", kind)[day < 2]).all()
        assert (found[(day == 2) & (kind == "mono")] == "unassigned").all()
        # a half of time 2 are T cells, but a third of time 1
        kept = adata.obs["genot_annotated_cell_type_kept"][(day == 2) & (kind == "T")]
        assert kept.mean() == pytest.approx(2 / 3, abs=0.02)
        sg.tl.annotate(adata, "cell_type", start=0, end=1, direction="backward", key_added="fut")
        kept = adata.obs["fut_kept"][day == 0]
        assert kept.mean() == pytest.approx(2 / 3, abs=0.02)


@pytest.mark.medium
def test_coupling_writes_who_is_unassigned(fitted):
    adata = fitted.copy()
    sg.tl.coupling(adata, top_k=200)
    kind, day = adata.obs["cell_type"].astype(str), adata.obs["day"]
    kept = adata.obs["genot_kept"]
    assert kept[day == 2].isna().all()
    assert adata.obs["genot_assignment"][day == 2].isna().all()
    assert (adata.obs["genot_assignment"][(day == 1) & (kind == "B")] == "unassigned").all()
    sent = np.asarray(adata.obsp["genot_coupling"].sum(axis=1)).ravel()
    assert np.allclose((sent + adata.obs["genot_left"])[day == 0], 1 / 80, rtol=1e-5)
    assert np.allclose(sent[day == 1] / 1, (kept / 120)[day == 1], rtol=1e-4, atol=1e-9)
    ax = sg.pl.coupling(adata, groupby="cell_type").child_axes[0]  # a panel for each step
    shown = [text.get_text() for text in ax.get_xticklabels()]
    assert shown[-1] == "unassigned"
    old = course(sg.ot.Sinkhorn())
    sg.tl.coupling(old)
    assert "genot_kept" not in old.obs


@pytest.mark.medium
def test_fits_with_neighborhoods_answer_or_say_what_they_lack(tmp_path):
    solver = sg.ot.Neighbors(n_neighbors=20)
    fitted, file = course(solver), tmp_path / "course.h5ad"
    fitted.write_h5ad(file)
    for adata in (fitted, read_h5ad(file)):
        table = sg.tl.cell_transition(adata, "cell_type", "cell_type", start=1, end=2)
        assert np.allclose(table.sum(axis=1), 1)
        assert table.loc["B", "unassigned"] == pytest.approx(1)
        assert (table.loc[["T", "mono"], "unassigned"] < 0.2).all()  # more of both at time 2
        sg.tl.annotate(adata, "cell_type", start=0, end=1)
        found, kind = adata.obs["genot_annotated_cell_type"], adata.obs["cell_type"].astype(str)
        day = adata.obs["day"]
        expected = np.where(kind == "mono", "unassigned", kind)[day == 1]
        assert (found[day == 1] == expected).mean() > 0.95
        sg.tl.coupling(adata)
        gone = (day == 1) & (kind == "B")
        assert (adata.obs["genot_assignment"][gone] == "unassigned").all()
        sg.tl.predict(adata)
        with pytest.raises(ValueError, match="needs a plan with `transposed`"):
            sg.tl.score_cells(adata)
        with pytest.raises(ValueError, match="no two cells of the fit"):
            sg.tl.coupling(blobs(seed=5, prefix="new"), model=adata)
    apart = fitted[fitted.obs["day"] < 2].copy()
    apart.obsm["X_pca"] = apart.obsm["X_pca"] + 100.0 * (apart.obs["day"] == 1).to_numpy()[:, None]
    with pytest.raises(ValueError, match="`solver=Neighbors` matches no cell of the pair '0"):
        sg.tl.fit_trajectory(
            apart, "day", solver=solver, learner=QUICK, key_added="new", progress=False
        )
    assert "new" not in apart.uns


@pytest.mark.medium
def test_a_translation_tells_which_cells_have_no_counterpart():
    query, reference = blobs(seed=1), blobs(types=["T", "B"], prefix="r")
    sg.tl.fit_translation(
        query, reference, solver=sg.ot.Sinkhorn(price=0.2), learner=QUICK, progress=False
    )
    sg.tl.coupling(query)
    label = query.obs["genot_assignment"]
    assert (label == np.where(query.obs["cell_type"] == "mono", "unassigned", "assigned")).all()
    assert (query.obs["genot_growth"][query.obs["cell_type"] == "mono"] < 0.5).mean() > 0.9
    new = blobs(seed=2, prefix="n")
    sg.tl.coupling(new, model=query)
    assert (new.obs["genot_assignment"] == label.to_numpy()).all()


@pytest.mark.slow
def test_a_type_left_out_of_the_reference_on_real_cells():
    """Other types and seeds are in `tests/benchmarks/transfer.py`; this one is well apart."""
    adata = load("kang_ifnb_labelled/kang_muscat")
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sg.tl.embed(adata, n_components=30, mask_var=None, adjust=False)
    order = np.random.default_rng(0).permutation(adata.n_obs)
    query, reference = (adata[order[k::2]].copy() for k in (0, 1))
    reference = reference[reference.obs["cluster_id"] != "B cells"].copy()
    gone = query.obs["cluster_id"] == "B cells"
    solver = sg.ot.Sinkhorn(epsilon=0.02, keep=float(1 - gone.mean()), cost=sg.ot.Geodesic())
    sg.tl.transfer(query, reference, "cluster_id", solver=solver)
    found = query.obs["genot_transferred_cluster_id"]
    left = found == "unassigned"
    assert (left & gone).sum() / gone.sum() >= 0.9
    assert (left & gone).sum() / left.sum() >= 0.9
    labels = query.obs["cluster_id"].astype(str)
    assert (found.astype(str) == labels)[~gone & ~left].mean() >= 0.8


def test_nothing_else_is_lost_and_the_query_is_named():
    rng = np.random.default_rng(0)
    query, reference = (
        AnnData(np.zeros((30, 2)), obsm={"X_pca": rng.normal(size=(30, 2))}) for _ in range(2)
    )
    reference.obs["type"] = ["A", "B", "C"] * 10
    query.obs["mine"], query.uns["own"] = 1, [2]
    before = query.obsm["X_pca"].copy()
    for key, slot in (("mine", "obs"), ("X_pca", "obsm"), ("own", "uns")):
        with pytest.raises(ValueError, match=rf"`key_added='{key}'` is in {slot} of `query`"):
            sg.tl.transfer(query, reference, "type", key_added=key)
    assert np.array_equal(query.obsm["X_pca"], before)
    assert (query.obs["mine"] == 1).all()
    for _ in range(2):  # its own results are replaced
        sg.tl.transfer(query, reference, "type", key_added="new")
    with pytest.raises(TypeError, match=r"`solver=Neighbors` is a class: pass `Neighbors\(\)`"):
        sg.tl.transfer(query, reference, "type", solver=sg.ot.Neighbors)
    query.obsm["X_pca"][3] = np.nan
    with pytest.raises(ValueError, match=r"obsm\['X_pca'\] of `query` has NaN"):
        sg.tl.transfer(query, reference, "type")
