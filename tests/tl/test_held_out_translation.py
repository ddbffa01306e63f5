"""Held-out cells of a translation: placed, decoded and compared in the target's embedding."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg

FEW = sg.model.FlowMatching(steps=20)


@pytest.fixture(scope="module")
def fitted():
    """Forty genes and nine proteins of 160 cells in two groups, both positive; half is fitted."""
    rng = np.random.default_rng(0)
    low = rng.normal(size=(160, 3)) + 4 * (np.arange(160) % 2)[:, None]
    names = [f"c{i}" for i in range(160)]
    rna, protein = (
        ad.AnnData(
            np.abs(low @ rng.normal(size=(3, g)) + 0.1 * rng.normal(size=(160, g))).astype("f4"),
            obs=pd.DataFrame(index=names),
            var=pd.DataFrame(index=[f"{kind}{i}" for i in range(g)]),
        )
        for kind, g in (("gene", 40), ("protein", 9))
    )
    train, test = (
        [side[half].copy() for side in (rna, protein)] for half in (slice(80), slice(80, None))
    )
    for side in train:
        sg.tl.embed(side, n_components=4)
    solver = sg.ot.GromovWasserstein(n_starts=2)
    sg.tl.fit_translation(*train, learner=FEW, solver=solver, progress=False)
    return train, test


# so few starts on so few cells may well disagree
pytestmark = pytest.mark.filterwarnings("ignore:.*The match between:UserWarning")


@pytest.mark.medium
def test_evaluate_places_both_sides(fitted):
    train, test = fitted
    found = sg.tl.evaluate(train[0], tuple(test), n_resamples=5)
    placed = [side.copy() for side in test]
    for side, known in zip(placed, train, strict=True):
        sg.tl.project(side, known)
    pd.testing.assert_frame_equal(
        found, sg.tl.evaluate(train[0], tuple(placed), n_resamples=5), check_exact=False
    )
    sg.tl.embed(placed[1], n_components=4)  # of its own
    with pytest.raises(ValueError, match="another embedding than that of the fit"):
        sg.tl.evaluate(train[0], tuple(placed), n_resamples=5)


@pytest.mark.medium
def test_simulate_decodes_after_a_file_too(fitted, tmp_path):
    train, test = fitted
    out = sg.tl.simulate(test[0], model=train[0], clip=False)
    assert list(out.var_names) == list(train[1].var_names)
    states = out.obsm["X_pca"]
    np.testing.assert_allclose(out.X, sg.tl.decode(states, train[1]), atol=1e-4)
    np.testing.assert_allclose(out.X, sg.tl.decode(states, out), atol=1e-4)
    train[0].write_h5ad(tmp_path / "rna.h5ad")
    again = ad.read_h5ad(tmp_path / "rna.h5ad")
    np.testing.assert_allclose(sg.tl.simulate(test[0], model=again, clip=False).X, out.X, atol=1e-5)
    assert (sg.tl.simulate(test[0], model=again).X >= 0).all()  # as those that were fitted
    with pytest.raises(ValueError, match="`residuals=True` needs the measured features"):
        sg.tl.simulate(test[0], model=again, residuals=True)


def test_a_damaged_embedding_is_refused(fitted):
    train, _ = fitted
    damaged = train[0].copy()
    damaged.uns["genot"]["target_embedding"]["embedding"]["loadings"] = np.ones((2, 4))
    with pytest.raises(ValueError, match="damaged"):
        sg.tl.predict(damaged)
