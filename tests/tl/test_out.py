"""Results that are written as they are made are those in memory, whatever interrupts them."""

import errno
import json
import resource
import signal
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg
from scgenot.cells import store
from scgenot.fit import sample

QUICK = sg.model.FlowMatching(steps=5)
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def fitted():
    """A screen of genes in an embedding, with growth; a model that has hardly learned."""
    adata = sg.datasets.screen(60, drugs=("A", "B"), doses=(0.5, 2.0))
    del adata.obsm["X_pca"], adata.uns["truth"]
    sg.tl.embed(adata, n_components=6, adjust=False)
    sg.tl.fit_perturbation(
        adata,
        "drug",
        "control",
        dose_key="dose",
        solver=sg.ot.Sinkhorn(epsilon=0.1, tau=(0.9, 1.0)),
        learner=QUICK,
        predict=False,
        progress=False,
    )
    return adata


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Shards of 16 cells, blocks of 20 cells with noise of their own."""
    for name, value in (("MOST_ROWS", 4), ("CHUNKS", 4)):
        monkeypatch.setattr(store, name, value)
    for module in (sample, sg.fit.to_store, sg.fit.made_up):
        monkeypatch.setattr(module, "BLOCK", 20)
    monkeypatch.chdir(tmp_path)


CALLS = {
    "one": {"target": "A"},
    "several": {"target": ["A", "B"], "dose": [0.5, 2.0]},
    "samples": {"target": ["A", "B"], "n_samples": 3},
    "residuals": {"target": ["B", "A"], "residuals": True},
    "residuals of samples": {"target": "A", "n_samples": 2, "residuals": True},
}


def simulate(adata, **options):
    return sg.tl.simulate(adata, progress=False, **options)


def predict(adata, **options):
    return sg.tl.predict(adata, "A", n_samples=4, progress=False, **options)


def stop_after(monkeypatch, n, error=KeyboardInterrupt):
    """Have the `n`-th shard after now end the call before it is written."""
    flush, left = store.Store._flush, [n]

    def stopping(self):
        left[0] -= 1
        if left[0] < 0:
            raise error
        flush(self)

    monkeypatch.setattr(store.Store, "_flush", stopping)


def assert_same(found, expected):
    assert list(found.obs_names) == list(expected.obs_names)
    assert list(found.var_names) == list(expected.var_names)
    assert set(found.obsm) == set(expected.obsm)
    if expected.X is not None:
        np.testing.assert_allclose(found.X, expected.X, atol=ROUNDING)
    for name in expected.obsm:
        np.testing.assert_allclose(found.obsm[name], expected.obsm[name], atol=ROUNDING)
    assert list(found.obs) == list(expected.obs)
    for name in expected.obs:
        if expected.obs[name].dtype.kind == "f":
            np.testing.assert_allclose(found.obs[name], expected.obs[name], atol=ROUNDING)
        else:
            assert list(found.obs[name].astype(str)) == list(expected.obs[name].astype(str))


@pytest.mark.medium
@pytest.mark.parametrize("call", CALLS)
def test_simulated_cells_are_those_in_memory(fitted, call):
    expected = simulate(fitted, **CALLS[call])
    assert simulate(fitted, out="screen.zarr", **CALLS[call]) is None
    found = ad.read_zarr("screen.zarr")
    assert_same(found, expected)
    genes = [sg.tl.decode(each.obsm["X_pca"], each) for each in (found, expected)]
    np.testing.assert_allclose(*genes, atol=ROUNDING)
    assert found.uns["genot"]["params"].keys() == expected.uns["genot"]["params"].keys()


@pytest.mark.medium
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (4096, 16)])
def test_the_size_of_shards_changes_nothing(fitted, monkeypatch, size):
    expected = simulate(fitted, **CALLS["several"])
    monkeypatch.setattr(store, "MOST_ROWS", size[0])
    monkeypatch.setattr(store, "CHUNKS", size[1])
    simulate(fitted, out="screen.zarr", **CALLS["several"])
    assert_same(ad.read_zarr("screen.zarr"), expected)


@pytest.mark.medium
def test_predicted_cells_are_those_in_memory(fitted):
    expected = predict(fitted, copy=True)
    before = set(fitted.obsm), set(fitted.obs), set(fitted.uns)
    assert predict(fitted, out="cells.zarr") is None
    assert (set(fitted.obsm), set(fitted.obs), set(fitted.uns)) == before
    found = ad.read_zarr("cells.zarr")
    assert found.shape == (fitted.n_obs, 0)
    for name in ("X_genot", "X_genot_mean"):
        np.testing.assert_allclose(found.obsm[name], expected.obsm[name], atol=ROUNDING)
    for name in [name for name in expected.obs if name.startswith("genot_")]:
        np.testing.assert_allclose(found.obs[name], expected.obs[name], atol=ROUNDING)
    assert (
        np.isnan(found.obsm["X_genot"]).any(axis=1).sum() == (fitted.obs["drug"] != "control").sum()
    )
    assert found.uns["genot_predicted"] == expected.uns["genot_predicted"]


@pytest.mark.medium
def test_results_of_an_earlier_prediction_are_replaced(fitted):
    again = predict(fitted, copy=True)
    predict(again, out="cells.zarr", rng=1)
    found = ad.read_zarr("cells.zarr")
    assert list(found.obs) == list(again.obs)
    is_source = again.obs["drug"] == "control"
    assert (found.obs["genot_uncertainty"] != again.obs["genot_uncertainty"])[is_source].all()


@pytest.mark.medium
def test_lazy_results(fitted):
    pytest.importorskip("xarray")
    pytest.importorskip("dask")
    expected = simulate(fitted, **CALLS["one"])
    simulate(fitted, out="screen.zarr", **CALLS["one"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        lazy = ad.experimental.read_lazy("screen.zarr")
    assert not isinstance(lazy.X, np.ndarray)
    np.testing.assert_allclose(np.asarray(lazy.X), expected.X, atol=ROUNDING)


class TestInterrupted:
    @pytest.mark.medium
    @pytest.mark.parametrize(
        ("call", "n"), [("one", 0), ("one", 3), ("several", 2), ("residuals", 5), ("samples", 5)]
    )
    def test_simulate_goes_on(self, fitted, monkeypatch, call, n):
        with monkeypatch.context() as patch:
            stop_after(patch, n)
            with pytest.raises(KeyboardInterrupt):
                simulate(fitted, out="screen.zarr", **CALLS[call])
        assert not Path("screen.zarr").exists()
        assert json.loads(Path("screen.zarr.partial/progress.json").read_text())["done"] == 16 * n
        written = []
        flush = store.Store._flush
        monkeypatch.setattr(
            store.Store, "_flush", lambda self: (written.append(self.done), flush(self))
        )
        simulate(fitted, out="screen.zarr", **CALLS[call])
        assert written[0] == 16 * n
        assert_same(ad.read_zarr("screen.zarr"), simulate(fitted, **CALLS[call]))

    @pytest.mark.medium
    @pytest.mark.parametrize("n", [1, 3])
    def test_predict_goes_on(self, fitted, monkeypatch, n):
        with monkeypatch.context() as patch:
            stop_after(patch, n)
            with pytest.raises(KeyboardInterrupt):
                predict(fitted, out="cells.zarr")
        predict(fitted, out="cells.zarr")
        predict(fitted, out="whole.zarr")
        assert_same(ad.read_zarr("cells.zarr"), ad.read_zarr("whole.zarr"))

    @pytest.mark.medium
    def test_other_work_is_refused(self, fitted, monkeypatch):
        with monkeypatch.context() as patch:
            stop_after(patch, 2)
            with pytest.raises(KeyboardInterrupt):
                simulate(fitted, out="screen.zarr", **CALLS["one"])
        with pytest.raises(ValueError, match=r"screen.zarr.partial', left by .* other cells"):
            simulate(fitted, out="screen.zarr", rng=1, **CALLS["one"])
        simulate(fitted, out="screen.zarr", rng=1, overwrite=True, **CALLS["one"])
        assert_same(ad.read_zarr("screen.zarr"), simulate(fitted, rng=1, **CALLS["one"]))

    @pytest.mark.medium
    @pytest.mark.parametrize("damage", ["missing", "truncated"])
    def test_what_was_cut_short_is_refused(self, fitted, monkeypatch, tmp_path, damage):
        with monkeypatch.context() as patch:
            stop_after(patch, 2)
            with pytest.raises(KeyboardInterrupt):
                simulate(fitted, out="screen.zarr", **CALLS["one"])
        shard = tmp_path / "screen.zarr.partial/X/c/1/0"
        shard.unlink() if damage == "missing" else shard.write_bytes(shard.read_bytes()[:50])
        with pytest.raises(ValueError, match="is incomplete: values of its first 32 cells"):
            simulate(fitted, out="screen.zarr", **CALLS["one"])
        simulate(fitted, out="screen.zarr", overwrite=True, **CALLS["one"])
        assert_same(ad.read_zarr("screen.zarr"), simulate(fitted, **CALLS["one"]))

    @pytest.mark.medium
    def test_a_full_disk(self, fitted, monkeypatch):
        """A file may not grow beyond 200 bytes: the same error of the file system."""
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(KeyboardInterrupt):
                simulate(fitted, out="screen.zarr", **CALLS["one"])
        limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.SIG_IGN
        before = signal.signal(signal.SIGXFSZ, handler)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
        try:
            with pytest.raises(
                OSError, match=r"could not be written .* 16 of 60 cells are"
            ) as told:
                simulate(fitted, out="screen.zarr", **CALLS["one"])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        assert told.value.errno == errno.EFBIG
        simulate(fitted, out="screen.zarr", **CALLS["one"])
        assert_same(ad.read_zarr("screen.zarr"), simulate(fitted, **CALLS["one"]))


class TestRefused:
    @pytest.mark.medium
    def test_out_that_exists(self, fitted):
        simulate(fitted, out="screen.zarr", **CALLS["one"])
        with pytest.raises(ValueError, match=r"`out='screen.zarr'` exists: .*`overwrite=True`"):
            simulate(fitted, out="screen.zarr", **CALLS["one"])
        simulate(fitted, out="screen.zarr", overwrite=True, **CALLS["several"])
        assert_same(ad.read_zarr("screen.zarr"), simulate(fitted, **CALLS["several"]))

    @pytest.mark.medium
    def test_an_older_store_stays_until_the_new_one_is_whole(self, fitted, monkeypatch):
        simulate(fitted, out="screen.zarr", **CALLS["one"])
        stop_after(monkeypatch, 1)
        with pytest.raises(KeyboardInterrupt):
            simulate(fitted, out="screen.zarr", overwrite=True, **CALLS["several"])
        assert_same(ad.read_zarr("screen.zarr"), simulate(fitted, **CALLS["one"]))

    def test_what_is_no_store_is_never_replaced(self, fitted, tmp_path):
        (tmp_path / "mine.zarr").mkdir()
        with pytest.raises(ValueError, match="exists and is not a zarr folder"):
            predict(fitted, out="mine.zarr", overwrite=True)

    @pytest.mark.parametrize(
        ("out", "message"),
        [
            ("cells.h5ad", "must end in '.zarr'"),
            (".zarr", "must end in '.zarr'"),
            ("nowhere/cells.zarr", r"folder of .* does not exist"),
        ],
    )
    def test_names(self, fitted, out, message):
        with pytest.raises(ValueError, match=message):
            predict(fitted, out=out)
        with pytest.raises(ValueError, match=message):
            simulate(fitted, out=out, **CALLS["one"])

    def test_a_read_only_folder(self, fitted, monkeypatch):
        monkeypatch.setattr(store.os, "access", lambda *_: False)  # root may write anywhere
        with pytest.raises(ValueError, match=r"folder of .* is not writable"):
            predict(fitted, out="cells.zarr")

    def test_cells_out_of_order(self, fitted, monkeypatch):
        ask = sg.tasks.Screen.ask

        def shuffled(self, *args, **options):
            question = ask(self, *args, **options)
            return sg.Question(question.rows[::-1], question.condition, question.answer)

        monkeypatch.setattr(sg.tasks.Screen, "ask", shuffled)
        with pytest.raises(ValueError, match="source cells in the order of `adata`"):
            predict(fitted, out="cells.zarr")


def test_a_column_that_zarr_cannot_hold(fitted, tmp_path):
    adata = fitted.copy()
    adata.obs["day"] = pd.Timestamp("2020-01-01")
    for verb in (sg.tl.predict, sg.tl.simulate):
        with pytest.raises(TypeError, match=r"(?s)annotations.*day.*convert them, to text"):
            verb(adata, "A", dose=0.5, out="cells.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.medium
def test_missing_rows_are_never_numbers(fitted):
    """A file that is lost from a whole store reads as NaN, which every verb refuses."""
    simulate(fitted, out="screen.zarr", **CALLS["one"])
    Path("screen.zarr/obsm/X_pca/c/0/0").unlink()
    found = ad.read_zarr("screen.zarr")
    del found.obs["drug"], found.obs["dose"]
    assert np.isnan(found.obsm["X_pca"][:16]).all()
    with pytest.raises(ValueError, match="has NaN or infinite values in 16 of"):
        sg.tl.predict(found, "A", model=fitted, progress=False)
