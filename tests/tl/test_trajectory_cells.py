"""Which cells a fit of a time course answers for, and what cells that it makes up are called."""

import warnings
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scgenot as sg
from scgenot.cells.strata import known_strata
from scgenot.cells.tasks import TimeCourse
from scgenot.fit.evaluation.fitted import choose_links
from scgenot.fit.shared import names_of
from scgenot.fit.stored_link import StoredLink

QUICK = {
    "learner": sg.model.FlowMatching(steps=2, width=16, depth=1, validation_fraction=0),
    "progress": False,
    "predict": False,
}
N = 40  # cells of each of three days


def cells(days=(5, 11, 14), **columns) -> ad.AnnData:
    """Two states that move on along the first of 12 genes, embedded."""
    rng = np.random.default_rng(0)
    day, up = np.repeat(days, N), np.tile(np.arange(N) < N / 2, len(days))
    genes = rng.normal(3, 0.5, size=(len(day), 12))
    genes[:, 0] += np.repeat(np.arange(len(days)), N)
    genes[:, 1] += 3 * up
    obs = {"day": day, "state": pd.Categorical(np.where(up, "up", "down")), **columns}
    adata = ad.AnnData(
        genes.astype(np.float32), obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(len(day))])
    )
    sg.tl.embed(adata, n_components=4)
    return adata


@pytest.fixture(scope="module")
def fitted():
    adata = cells()
    sg.tl.fit_trajectory(adata, "day", **QUICK)
    return adata


def few_fast(cases, *fast) -> list:
    """Return cases of which all but some are slow."""
    return [pytest.param(one, marks=[] if one in fast else pytest.mark.slow) for one in cases]


def other_genes(adata):
    adata.var["highly_variable"] = np.arange(12) != 1
    sg.tl.embed(adata, n_components=4)


def fewer_components(adata):
    sg.tl.embed(adata, n_components=3)


def flipped_axis(adata):
    adata.obsm["X_pca"] = adata.obsm["X_pca"] * np.array([1, -1, 1, 1], dtype=np.float32)


def integrated(adata):
    """Shift every second cell, as an integration of batches does that keeps one of them."""
    adata.obsm["X_pca"] = adata.obsm["X_pca"] + 0.1 * (np.arange(3 * N) % 2)[:, None]


def last_day_moved(adata):
    adata.obsm["X_pca"][adata.obs["day"] == 14] += 1


ANEW = [other_genes, fewer_components, flipped_axis, integrated, last_day_moved]
VERBS = {
    "predict": lambda adata: sg.tl.predict(adata, n_samples=2, progress=False),
    "simulate": lambda adata: sg.tl.simulate(adata, progress=False),
    "coupling": sg.tl.coupling,
    "interpolate": lambda adata: sg.tl.interpolate(adata, 8),
    "interpolate, model": lambda adata: sg.tl.interpolate(adata, 8, method="model"),
    "evaluate": lambda adata: sg.tl.evaluate(
        adata, adata.copy(), metrics=["r2_distance"], in_sample=True, n_resamples=2
    ),
}
for _method in ("coupling", "model"):
    _options = {"method": _method, "n_samples": 2}
    VERBS |= {
        f"push, {_method}": lambda a, o=_options: sg.tl.push(a, "up", groupby="state", **o),
        f"pull, {_method}": lambda a, o=_options: sg.tl.pull(a, "up", groupby="state", **o),
        f"fate, {_method}": lambda a, o=_options: sg.tl.fate(a, "state", **o),
        f"annotate, {_method}": lambda a, o=_options: sg.tl.annotate(a, "state", **o),
        f"velocity, {_method}": lambda a, o=_options: sg.tl.velocity(a, **o),
        f"cell_transition, {_method}": lambda a, o=_options: sg.tl.cell_transition(
            a, "state", "state", **o
        ),
    }
FATES = ("fate, model", "fate, coupling")
MOVED = (
    r"obsm\['X_pca'\] of (`adata`|the fitted AnnData) has changed since the fit: "
    r"\d+ of \d+ compared cells"
)


@pytest.mark.medium
@pytest.mark.parametrize("verb", VERBS)
def test_cells_embedded_anew_after_the_fit_are_refused_by_every_verb(fitted, verb):
    adata = fitted.copy()
    other_genes(adata)
    before = set(adata.obs), set(adata.obsm), set(adata.obsp), set(adata.uns)
    with pytest.raises(ValueError, match=MOVED):
        VERBS[verb](adata)
    assert (set(adata.obs), set(adata.obsm), set(adata.obsp), set(adata.uns)) == before


@pytest.mark.parametrize("anew", ANEW)
def test_every_way_of_embedding_anew_is_refused(fitted, anew):
    adata = fitted.copy()
    anew(adata)
    for part in (adata, adata[adata.obs["state"] == "up"].copy()):
        with pytest.raises(ValueError, match=MOVED):
            sg.tl.fate(part, "state")


@pytest.mark.parametrize("form", few_fast(["h5ad", "zarr"], "h5ad"))
def test_cells_embedded_anew_are_refused_after_a_file_too(fitted, tmp_path, form):
    path = tmp_path / f"cells.{form}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's and zarr's notes on format versions
        getattr(fitted, f"write_{form}")(path)
        again = getattr(ad, f"read_{form}")(path)
    sg.tl.fate(again, "state")
    other_genes(again)
    with pytest.raises(ValueError, match=MOVED):
        sg.tl.fate(again, "state")


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 1 has no such text")
def test_names_from_zarr_are_read_as_names():
    names = np.array(["c1", "lane two"], dtype=np.dtypes.StringDType())
    assert names_of(names).dtype.kind == "U"
    assert names_of(names).tolist() == ["c1", "lane two"]


def test_renamed_cells_are_known_by_their_embedding(fitted):
    adata = fitted.copy()
    adata.obs_names = [f"lane1-{name}" for name in adata.obs_names]
    sg.tl.predict(adata, progress=False)
    other_genes(adata)
    with pytest.raises(ValueError, match="has changed since the fit"):
        sg.tl.predict(adata, progress=False)


def test_a_matrix_that_was_normalized_after_the_fit_is_refused():
    adata = cells()
    sg.tl.fit_trajectory(adata, "day", use_rep="X", **QUICK)
    adata.X = np.log1p(adata.X)
    with pytest.raises(ValueError, match=r"^X of `adata` has changed since the fit"):
        sg.tl.fate(adata, "state")


@pytest.mark.medium
def test_the_same_cells_are_taken_in_any_order_precision_and_layout(fitted):
    sparse_cells, doubled, reversed_cells = fitted.copy(), fitted.copy(), fitted[::-1].copy()
    sparse_cells.obsm["X_pca"] = sparse.csr_matrix(fitted.obsm["X_pca"])
    doubled.obsm["X_pca"] = np.asfortranarray(fitted.obsm["X_pca"].astype(np.float64))
    reversed_cells.obsm["X_pca"] = fitted.obsm["X_pca"][::-1]  # negative strides
    sg.tl.embed(other := fitted.copy(), n_components=4)  # the same embedding once more
    expected = sg.tl.fate(fitted, "state", copy=True).obsm["genot_fate"]
    for adata in (sparse_cells, doubled, reversed_cells, other):
        for verb in ("coupling", "predict", "fate, coupling", "velocity, model"):
            VERBS[verb](adata)
        found = adata.obsm["genot_fate"].loc[fitted.obs_names]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize(
    "layout", few_fast(["csr", "csc", "frame", "negative strides", "fortran"], "negative strides")
)
def test_a_representation_in_any_layout_is_fitted_and_asked_alike(layout):
    plain = cells()
    values = plain.obsm["X_pca"]
    adata = plain.copy()
    adata.obsm["X_pca"] = {
        "csr": sparse.csr_matrix,
        "csc": sparse.csc_matrix,
        "frame": lambda x: pd.DataFrame(x, index=plain.obs_names).add_prefix("pc"),
        "negative strides": lambda x: x[:, ::-1].copy()[:, ::-1],
        "fortran": np.asfortranarray,
    }[layout](values)
    for one in (plain, adata):
        sg.tl.fit_trajectory(one, "day", **QUICK)
        for verb in ("predict", "simulate", "coupling", "interpolate", "evaluate", *FATES):
            VERBS[verb](one)
    np.testing.assert_array_equal(adata.obsm["X_genot"], plain.obsm["X_genot"])
    np.testing.assert_array_equal(adata.obsm["genot_fate"], plain.obsm["genot_fate"])
    mass = (one.obsp["genot_coupling"].toarray() for one in (plain, adata))
    np.testing.assert_array_equal(*mass)


def test_a_reversed_view_is_fitted_as_its_copy():
    adata = cells()
    view = adata[::-1]
    sg.tl.fit_trajectory(view, "day", **QUICK | {"predict": True})
    copied = adata[::-1].copy()
    sg.tl.fit_trajectory(copied, "day", **QUICK | {"predict": True})
    np.testing.assert_array_equal(view.obsm["X_genot"], copied.obsm["X_genot"])
    assert "genot" not in adata.uns


DAYS = np.repeat([5, 11, 14], N)
COLUMNS = {
    "int": DAYS,
    "uint8": DAYS.astype(np.uint8),
    "float": DAYS.astype(float),
    "float32": DAYS.astype(np.float32),
    "Int64": pd.array(DAYS, dtype="Int64"),
    "int category": pd.Categorical(DAYS),
    "float category": pd.Categorical(DAYS.astype(float)),
    "ordered category": pd.Categorical(DAYS.astype(float), ordered=True),
    "text": np.array([f"day {day}" for day in DAYS], dtype=object),
    "text of numbers": DAYS.astype(str).astype(object),
    "text category": pd.Categorical([f"E{day}.5" for day in DAYS]),
    "ordered stages": pd.Categorical(
        np.repeat(["egg", "larva", "adult"], N), ["egg", "larva", "adult"], ordered=True
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("kind", few_fast(COLUMNS, "Int64", "float category", "text category"))
def test_made_up_cells_have_the_times_of_their_column(kind, tmp_path):
    adata = cells()
    adata.obs["day"] = pd.Series(COLUMNS[kind], index=adata.obs_names)
    sg.tl.fit_trajectory(adata, "day", **QUICK)
    sg.tl.predict(adata, n_samples=2, progress=False)
    labels = list(dict.fromkeys(adata.obs["day"].tolist()))
    between = 0.5 if kind == "ordered stages" else 8
    made = {
        "simulated": sg.tl.simulate(adata, progress=False),
        "interpolated": sg.tl.interpolate(adata, between, n_cells=30),
        "at a sampled time": sg.tl.interpolate(
            adata, 1 if kind == "ordered stages" else sg.get.params(adata)["times"][1], n_cells=30
        ),
    }
    assert set(made["simulated"].obs["day"]) == set(labels[1:])
    assert set(made["at a sampled time"].obs["day"]) == {labels[1]}
    for origin, found in made.items():
        how = origin if origin in ("simulated", "interpolated") else "interpolated"
        assert set(found.obs["genot_origin"]) == {how}
        assert not [
            name for name in found.obs if name.startswith("genot_") and "origin" not in name
        ]
        assert set(found.obsm) == {"X_pca"}
        if origin != "interpolated":
            own = adata.obs["day"].dtype
            same = isinstance(own, pd.CategoricalDtype) or found.obs["day"].dtype == own
            assert same, found.obs["day"].dtype
            assert found.obs["day"].dtype.name == own.name
    both = ad.concat({"measured": adata, **made}, label="origin", index_unique="-")
    counts = both.obs["day"].value_counts()
    assert [counts[label] for label in labels] == [N, 2 * N + 30, 2 * N]
    both.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert sorted(again.obs["day"].value_counts()) == sorted(counts[counts > 0])


@pytest.mark.medium
def test_made_up_cells_carry_nothing_that_was_predicted_of_their_source(fitted):
    adata = fitted.copy()
    sg.tl.fit_trajectory(adata, "day", key_added="other", **QUICK)
    for key in ("genot", "other"):
        sg.tl.predict(adata, key=key, progress=False)
        sg.tl.fate(adata, "state", key=key)
        sg.tl.push(adata, "up", groupby="state", key=key)
        sg.tl.pull(adata, "up", groupby="state", key=key, key_added=f"{key} ancestors")
        sg.tl.annotate(adata, "state", key=key, key_added=f"{key} label")
        sg.tl.velocity(adata, key=key, method="coupling")
        sg.tl.coupling(adata, key=key)
    own = {"day", "state", "source_cell", "other_origin"}
    simulated = sg.tl.simulate(adata, key="other", progress=False)
    assert set(simulated.obs) == own
    with warnings.catch_warnings():  # the model has learned next to nothing
        warnings.filterwarnings("ignore", ".*stand out", UserWarning)
        twice = sg.tl.simulate(simulated, model=adata, progress=False)
    assert set(twice.obs) == {"day", "state", "source_cell", "genot_origin"}
    between = sg.tl.interpolate(adata, 8, key="other", n_cells=20)
    assert set(between.obs) == own | {"fraction"}
    for made in (simulated, twice, between):
        assert set(made.obsm) == {"X_pca"}
        assert not made.obsp


LABELS = {
    "bool": [True, False],
    "int": [1, 2],
    "float": [1.0, 2.5],
    "pooled": ["pooled", "own"],
    "number": ["0.5", "0.50"],
    "bar": ["a | b", "a"],
    "categories of numbers": pd.Categorical([1.0, 2.0]),
}


def with_donors(kind: str) -> ad.AnnData:
    """Cells of two donors in turn."""
    donor = pd.Series(LABELS[kind]).iloc[np.arange(3 * N) % 2]
    return cells(donor=donor.set_axis([f"c{i}" for i in range(3 * N)]))


@pytest.mark.medium
@pytest.mark.parametrize("kind", few_fast(LABELS, "bool", "pooled"))
def test_a_step_has_all_mass_whatever_its_strata_are_called(kind, tmp_path):
    adata = with_donors(kind)
    sg.tl.fit_trajectory(adata, "day", covariates=["donor"], **QUICK)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    same = adata.obs["donor"].to_numpy()[:, None] == adata.obs["donor"].to_numpy()
    for one in (adata, ad.read_h5ad(tmp_path / "cells.h5ad")):
        sg.tl.coupling(one, top_k=N)
        masses = [float(mass.X.sum()) for mass in sg.get.couplings(one).values()]
        np.testing.assert_allclose(masses, [1, 1], rtol=1e-3)
        assert (one.obsp["genot_coupling"].toarray()[~same] == 0).all()
        sg.tl.fate(one, "state")
        assert one.obsm["genot_fate"].notna().all(axis=None)
        assert len(one.uns["genot"]["pairs"]) == 4


@pytest.mark.parametrize("kind", LABELS)
def test_held_out_cells_take_the_coupling_of_their_own_stratum(kind):
    adata = with_donors(kind)
    task = TimeCourse("day", covariates=["donor"])
    rows = np.arange(N)
    links = [StoredLink.of(replace(link, plan=NoPlan()), adata, task) for link in task.links(adata)]
    strata = known_strata(adata, ["donor"], rows)
    chosen = choose_links(links[:2], strata, np.random.default_rng(0))
    for k, link in enumerate(links[:2]):
        assert set(link.source_names) == set(adata.obs_names[rows[chosen == k]])


class NoPlan:
    def to_arrays(self) -> dict:
        return {"kind": "draws", "name": "none"}


def warned(call) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module="anndata")
        call()
    return record


@pytest.mark.medium
def test_every_warning_of_a_fit_is_given_once_at_the_line_of_the_caller():
    stages = pd.Categorical(
        np.repeat(["P0", "P7", "adult"], N), ["P0", "P7", "adult"], ordered=True
    )
    adata = cells(donor=np.where(np.arange(3 * N) % 10 == 0, "few", "many"))
    adata.obs["day"] = stages
    blurred = sg.ot.Sinkhorn(epsilon=0.01, max_iterations=2)
    record = warned(
        lambda: sg.tl.fit_trajectory(adata, "day", covariates=["donor"], solver=blurred, **QUICK)
    )
    starts = [str(warning.message).split()[0] for warning in record]
    assert starts == ["`time_key='day'`:", "groups", "2"]
    assert "2 of 2 couplings (0 to 1, many, 1 to 2, many)" in str(record[2].message)
    assert {warning.filename for warning in record} == {__file__}
    # what was said at the fit is not said again
    for name in VERBS:
        if not name.startswith("interpolate"):
            assert not warned(lambda verb=VERBS[name]: verb(adata)), name
    assert not warned(lambda: sg.tl.interpolate(adata, 0.5))


def test_cells_unlike_those_fitted_are_warned_of_once_at_the_line_of_the_caller():
    adata = cells()
    sg.tl.fit_trajectory(adata, "day", use_rep="X", **QUICK)
    new = cells()
    new.X[:, 2:] += 5
    for verb in (sg.tl.predict, sg.tl.simulate):
        record = warned(lambda verb=verb: verb(new, model=adata, progress=False))
        assert [warning.filename for warning in record] == [__file__]
        assert "are unlike the source cells" in str(record[0].message)
