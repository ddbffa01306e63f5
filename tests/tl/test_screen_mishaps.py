"""What may go wrong with a screen: new embeddings, unseen labels, small groups, few controls."""

import logging
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg
from truth.responses import known_cells, known_fit, known_mean

QUICK = sg.model.FlowMatching(steps=5, validation_every=5)
VERBS = {
    "predict": lambda cells, **options: sg.tl.predict(cells, "A", **options),
    "simulate": lambda cells, **options: sg.tl.simulate(cells, ["A", "B"], **options),
    "response": lambda cells, **options: sg.tl.response(cells, "A", **options),
    "calibrate": lambda cells, **options: sg.tl.calibrate(cells, levels=[0.5], **options),
    "coverage": lambda cells, **options: sg.tl.coverage(cells, **options),
    "coupling": lambda cells, **options: sg.tl.coupling(cells, **options),
}


def screen(*drugs, n=40, name="c", rng=0) -> ad.AnnData:
    """Cells with genes, of each drug in turn; each drug moves a gene of its own."""
    rng = np.random.default_rng(rng)
    which = np.resize(np.arange(len(drugs)), n * len(drugs))
    genes = rng.normal(size=(len(which), 12)) @ np.diag(np.linspace(1.5, 0.3, 12)) + 5
    genes[np.arange(len(which)), which] += 2 * (which > 0)
    turn = np.arange(len(which)) // len(drugs)
    obs = pd.DataFrame(
        {"drug": np.asarray(drugs)[which], "donor": np.array(["d1", "d1", "d2"])[turn % 3]},
        index=[f"{name}{i}" for i in range(len(which))],
    )
    return ad.AnnData(genes.astype(np.float32), obs=obs)


def fit(adata, **options):
    options = {"learner": QUICK, "progress": False, "device": "cpu"} | options
    return sg.tl.fit_perturbation(adata, "drug", "ctrl", **options)


def said(function) -> list[warnings.WarningMessage]:
    """Return the warnings of a call."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        function()
    return record


@pytest.fixture(scope="module")
def embedded():
    """A fit in an embedding, calibrated on cells of another draw."""
    adata = screen("ctrl", "A", "B")
    sg.tl.embed(adata, n_components=4)
    fit(adata)
    sg.tl.calibrate(screen("ctrl", "A", "B", name="new", rng=1), model=adata, levels=[0.5])
    return adata


def other_genes(adata):
    adata.var["highly_variable"] = np.arange(12) > 0
    sg.tl.embed(adata, n_components=4)


def more_components(adata):
    sg.tl.embed(adata, n_components=5)


def flipped(adata):
    """As an integration that writes to the key that it reads."""
    adata.obsm["X_pca"] = adata.obsm["X_pca"] * np.array([1, -1, 1, 1], dtype=np.float32)


def flipped_and_unnamed(adata):
    flipped(adata)
    del adata.uns["pca"]


@pytest.mark.parametrize("change", [other_genes, more_components, flipped, flipped_and_unnamed])
class TestEmbeddedAnew:
    MATCH = r"obsm\['X_pca'\] of .* has changed since the fit: \d+ of \d+ compared cells"

    @pytest.mark.medium
    @pytest.mark.parametrize("verb", VERBS)
    def test_the_fitted_cells_are_refused(self, embedded, change, verb):
        moved = embedded.copy()
        change(moved)
        for cells in (moved, moved[::-1].copy(), moved[moved.obs["donor"] == "d1"].copy()):
            before = set(cells.obsm), set(cells.obsp), set(cells.obs)
            with pytest.raises(ValueError, match=self.MATCH):
                VERBS[verb](cells)
            assert (set(cells.obsm), set(cells.obsp), set(cells.obs)) == before

    @pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "coupling"])
    def test_other_cells_are_not_placed_in_a_new_embedding(self, embedded, change, verb):
        moved, new = embedded.copy(), screen("ctrl", "A", "B", name="new", rng=1)
        change(moved)
        if "pca" not in moved.uns:
            new.obsm["X_pca"] = moved.obsm["X_pca"]
        with pytest.raises(ValueError, match=self.MATCH.replace(".*", "the fitted AnnData")):
            VERBS[verb](new, model=moved)

    def test_evaluate_refuses(self, embedded, change):
        moved, new = embedded.copy(), screen("ctrl", "A", "B", name="new", rng=1)
        change(moved)
        if "pca" not in moved.uns:
            new.obsm["X_pca"] = moved.obsm["X_pca"]
        for held_out, options in ((new, {}), (moved, {"in_sample": True})):
            with pytest.raises(ValueError, match=self.MATCH):
                sg.tl.evaluate(moved, held_out, **options)


def test_a_coupling_takes_no_moved_cells_for_the_fitted_ones():
    adata = screen("ctrl", "A", n=20)
    adata.obsm["X_own"] = adata.X[:, :3]  # made nobody knows how
    fit(adata, use_rep="X_own", predict=False)
    named, moved = adata.copy(), adata.copy()
    del named.uns["genot"], moved.uns["genot"]
    moved.obsm["X_own"] = moved.obsm["X_own"][:, ::-1]
    sg.tl.coupling(named, model=adata)
    assert named.obsp["genot_coupling"].sum() == pytest.approx(1, rel=1e-3)
    with pytest.raises(ValueError, match=r"obsm\['X_own'\] of `adata` has changed"):
        sg.tl.coupling(moved, model=adata)
    assert not moved.obsp


@pytest.fixture(scope="module")
def embedded_again(embedded, tmp_path_factory):
    path = tmp_path_factory.mktemp("again") / "cells.h5ad"
    again = embedded.copy()
    sg.tl.embed(again, n_components=4)
    again.write_h5ad(path)
    return ad.read_h5ad(path)[::-1].copy()


@pytest.mark.medium
@pytest.mark.parametrize("verb", VERBS)
def test_the_same_embedding_made_again_is_taken(embedded_again, verb):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of calibrating on the cells of the fit
        VERBS[verb](embedded_again)


@pytest.mark.medium
def test_a_new_drawing_of_the_cells_is_no_new_embedding(embedded):
    other = embedded.copy()
    other.obsm["X_umap"] = other.obsm["X_pca"][:, :2] * 3
    other.obs["drug"] = other.obs["drug"].astype("category")
    sg.tl.predict(other, "A")
    sg.tl.predict(other[:, ::-1].copy(), "A")


@pytest.fixture(scope="module")
def dosed():
    """A fit with doses up to 10, whose network is told the donor."""
    adata = screen("ctrl", "A", "B")
    adata.obs["dose"] = np.where(adata.obs["drug"] == "ctrl", 0, np.repeat([1.0, 10], 60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pooled donors, which are not the question
        fit(adata, dose_key="dose", network_covariates=["donor"], use_rep="X")
    return adata


class TestEachWarningOnce:
    ABOVE = (
        "`dose=100` of '{}' is above the largest measured dose, 10: the response is extrapolated."
    )
    UNTOLD = "obs['donor'] has ['d9'], which the fit has not seen"

    @pytest.mark.medium
    @pytest.mark.parametrize(
        ("verb", "targets"),
        [(sg.tl.simulate, ["A", "B"]), (sg.tl.predict, ["A"]), (sg.tl.response, ["B"])],
    )
    def test_of_questions(self, dosed, verb, targets):
        new = dosed.copy()
        new.obs["donor"] = "d9"
        target = targets if len(targets) > 1 else targets[0]
        record = said(lambda: verb(new, target, dose=100.0, model=dosed))
        messages = [str(each.message) for each in record]
        assert messages.count(messages[0]) == 1
        assert sorted(messages)[: len(targets)] == [self.ABOVE.format(name) for name in targets]
        assert sum(message.startswith(self.UNTOLD) for message in messages) == 1
        assert len(messages) == len(targets) + 1
        assert {each.filename for each in record} == {__file__}
        assert {each.category for each in record} == {UserWarning}

    @pytest.mark.medium
    def test_again_in_the_next_call(self, dosed):
        for _ in range(2):
            assert len(said(lambda: sg.tl.simulate(dosed, ["A", "B"], dose=[10, 100]))) == 2
        assert not said(lambda: sg.tl.simulate(dosed, ["A", "B"], dose=[1, 10]))

    @pytest.mark.medium
    def test_of_held_out_cells(self, dosed):
        new = screen("ctrl", "A", "B", n=60, name="new", rng=1)
        new.obs["dose"] = np.where(new.obs["drug"] == "ctrl", 0, 10.0)
        new.obs["donor"] = "d9"
        fitted, others = dosed.copy(), new.copy()
        others.obs_names = "more-" + others.obs_names
        for verb in (
            lambda: sg.tl.calibrate(new, model=fitted, levels=[0.5], groupby=[]),
            lambda: sg.tl.coverage(others, model=fitted),
            lambda: sg.tl.evaluate(fitted, new, metrics=["r2_distance"], n_resamples=2),
        ):
            record = said(verb)
            assert [str(each.message)[:40] for each in record] == [self.UNTOLD[:40]]
            (only,) = record
            assert str(only.message).startswith(self.UNTOLD)
            assert only.filename == __file__


class TestAtOnce:
    WRITTEN = ("X_genot", "X_genot_mean")

    @pytest.mark.medium
    def test_one_perturbation(self):
        adata = screen("ctrl", "A", n=20)
        fit(adata, use_rep="X")
        assert set(adata.obsm) == set(self.WRITTEN)
        assert adata.uns["genot_predicted"] == {"target": "A"}
        np.testing.assert_array_equal(
            np.isfinite(adata.obsm["X_genot"]).all(1), adata.obs["drug"] == "ctrl"
        )
        again = sg.tl.predict(adata, "A", device="cpu", copy=True)
        for key in self.WRITTEN:
            np.testing.assert_array_equal(again.obsm[key], adata.obsm[key])
        fit(adata, use_rep="X", predict=False)
        assert not adata.obsm
        assert "genot_predicted" not in adata.uns

    def test_several_need_a_target(self, monkeypatch):
        adata = screen("ctrl", "A", "B", n=20)
        fit(adata, use_rep="X")
        assert not adata.obsm

        def no_work(*args, **options):
            raise AssertionError("coupled before the question was checked")

        monkeypatch.setattr(sg.fit.fit, "couple", no_work)
        with pytest.raises(ValueError, match=r"`target` is needed: which of \['A', 'B'\]"):
            fit(adata, use_rep="X", predict=True, key_added="other")
        assert "other" not in adata.uns


class TestSmallGroups:
    @pytest.mark.medium
    def test_all_are_named_in_one_warning(self):
        adata = screen("ctrl", "A", "B", n=60)
        rows = np.flatnonzero(adata.obs["drug"] == "A")
        adata.obs.iloc[rows[0], 0] = "C"  # the only cell of C
        adata.obs.iloc[np.flatnonzero(adata.obs["drug"] == "B")[:3], 1] = "d3"  # 3 cells of d3
        (only,) = said(lambda: fit(adata, covariates=["donor"], use_rep="X"))
        message = str(only.message)
        assert only.filename == __file__
        for part in ("groups with under 10 cells", "C (1 cell)", "B of d3 (0 and 3 cells)"):
            assert part in message
        assert sg.get.params(adata)["conditions"]["known"] == ["A", "B"]
        sg.tl.predict(adata, "B")
        with pytest.raises(KeyError, match="'C', which the fit has not seen"):
            sg.tl.predict(adata, "C")

    def test_of_calibration_in_one_warning(self, embedded):
        new = screen("ctrl", "A", "B", n=30, name="new", rng=1)
        new.obs["donor"] = "d1"
        for drug in ("A", "B"):
            rows = np.flatnonzero(new.obs["drug"] == drug)
            new.obs.iloc[rows[:3], 1] = "d3"
        (only,) = said(
            lambda: sg.tl.calibrate(new, model=embedded.copy(), groupby=["donor"], levels=[0.5])
        )
        assert "A of d3 (0 and 3 cells); B of d3 (0 and 3 cells)" in str(only.message)
        assert only.filename == __file__


class TestControlsOfACalibration:
    def few(self, n):
        new = screen("ctrl", "A", "B", name="new", rng=1)
        control = np.flatnonzero(new.obs["drug"] == "ctrl")
        return new[np.setdiff1d(np.arange(new.n_obs), control[n:])].copy()

    @pytest.mark.parametrize(
        ("n", "message"),
        [(0, "`held_out` has no control cells"), (1, "`held_out` has 1 control cell: .* 2 or")],
    )
    @pytest.mark.parametrize("groupby", [None, [], ["donor"]])
    def test_none_or_one_is_too_few(self, embedded, n, message, groupby):
        with pytest.raises(ValueError, match=message):
            sg.tl.calibrate(self.few(n), model=embedded, groupby=groupby)

    @pytest.mark.medium
    @pytest.mark.parametrize("n", [2, 3, 9])
    def test_two_are_enough(self, embedded, n):
        fitted = embedded.copy()
        sg.tl.calibrate(self.few(n), model=fitted, levels=[0.5, 0.8])
        for name in ("calibration", "calibration_features"):
            assert np.isfinite(fitted.uns["genot"][name].select_dtypes("number")).all(axis=None)

    @pytest.mark.medium
    @pytest.mark.parametrize(("n", "groupby"), [(2, []), (9, []), (40, []), (40, ["donor"])])
    def test_no_control_cell_is_in_both_halves(self, embedded, monkeypatch, n, groupby):
        """Else the cells that set the raw threshold are nearer to what they are compared with."""
        halves, generate = [], sg.fit.regions.generate

        def recorded(fit, cells, question, rows, **options):
            halves.append(rows)
            return generate(fit, cells, question, rows, **options)

        monkeypatch.setattr(sg.fit.regions, "generate", recorded)
        held_out = self.few(n)
        sg.tl.calibrate(held_out, model=embedded.copy(), groupby=groupby, levels=[0.5])
        strata = 2 if groupby else 1
        assert len(halves) == 2 * strata * 2  # of A and of B
        for one, two in zip(halves[::2], halves[1::2], strict=True):
            assert not set(one) & set(two)
            assert abs(len(one) - len(two)) <= 1
            assert len(set(one)) == len(one)
        both = np.sort(np.concatenate(halves[: 2 * strata]))
        np.testing.assert_array_equal(both, np.flatnonzero(held_out.obs["drug"] == "ctrl"))

    @pytest.mark.medium
    def test_raw_regions_hold_other_cells_of_a_model_without_noise(self):
        """Were the halves the same cells, what is generated would be at distance 0 of itself."""
        adata = known_fit(known_cells(40))
        model = sg.get.model(adata)
        model.units.displacement.std *= 1e-4
        model.field.given_skip.weight.data *= 1e4  # the mean change stays
        adata.uns["genot"]["model"]["weights"] = model.to_arrays()[1]
        new = known_cells(300, rng=1)
        for name in ("A", "B"):  # exactly as the model says, of other control cells
            x = known_cells(300, rng=2)[:300].X.astype(float)
            new.X[new.obs["drug"] == name] = x + known_mean(x, name)
        new.obs_names = "new-" + new.obs_names
        sg.tl.calibrate(new, model=adata, levels=[0.5, 0.8, 0.9])
        table = adata.uns["genot"]["calibration"]
        # 600 treated cells of 300 control cells, regions of 150 of those
        np.testing.assert_allclose(table["raw_coverage"], table["level"], atol=0.15)


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["float32", "float16", "category", "Float32", "object"])
def test_a_measured_dose_is_found_however_it_is_stored(kind):
    adata = screen("ctrl", "A", n=24)
    dose = np.where(adata.obs["drug"] == "ctrl", 0, np.repeat([0.001, 0.1, 0.7], 16))
    adata.obs["dose"] = pd.Series(dose, index=adata.obs_names).astype(kind)
    if kind == "object":
        with pytest.raises(ValueError, match=r"must be numbers; found object: .*to_numeric"):
            fit(adata, dose_key="dose", use_rep="X")
        return
    fit(adata, dose_key="dose", use_rep="X")
    assert set(adata.uns["genot"]["pairs"]["name"]) >= {"A 0.1", "A 0.7"}
    cells = sg.tl.simulate(adata, dose=[0.1, 0.7])
    for level in (0.1, 0.7):
        table = sg.tl.response(adata, dose=level, features=adata.var_names[:1])
        assert table["n_observed"].item() == (dose == level).sum()
    both = ad.concat([adata, cells])
    assert both.obs["dose"].nunique() == len(np.unique(dose))


@pytest.mark.medium
def test_a_verdict_says_how_the_fit_ended(caplog):
    adata = screen("ctrl", "A", n=120)
    with pytest.warns(UserWarning, match="product of the marginals"):
        fit(adata, use_rep="X", solver=sg.ot.Sinkhorn(epsilon=5.0))
    new = screen("ctrl", "A", n=40, name="new", rng=1)
    with caplog.at_level(logging.INFO, logger="scgenot"):
        table = sg.tl.evaluate(adata, new, metrics=["edistance", "mmd"], n_resamples=10)
    verdict = table.attrs["verdict"]
    assert {"few steps"} < set(table.attrs["outcomes"]) & {"few steps", "blurred", "collapsed"}
    for word in ("too few steps", "raise `steps`", "`epsilon`"):
        assert word in verdict
    assert verdict in caplog.text


@pytest.mark.medium
def test_a_metric_that_has_no_value_is_lost():
    adata = screen("ctrl", "A", n=40)
    fit(adata, use_rep="X")

    def odd(predicted, true):
        """No number for cells that are new: those of the model."""
        return float(abs(predicted.mean() - true.mean())) if is_measured(predicted) else np.nan

    def is_measured(cells):
        known = {row.tobytes() for row in np.concatenate([adata.X, new.X]).astype(float)}
        return all(row.tobytes() in known for row in cells)

    new = screen("ctrl", "A", n=40, name="new", rng=1)
    table = sg.tl.evaluate(adata, new, metrics=[odd, "edistance"], n_resamples=4)
    head = table.attrs["verdict"].split("\n")[0]
    assert "of 2 metrics" in head
    assert "loses on" in head
    assert "odd" in head.split("loses on")[1]
    assert "odd: GENOT has no value" in table.attrs["verdict"]
