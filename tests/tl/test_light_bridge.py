"""A light bridge and integrators through the verbs."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg

FEW = {"steps": 20, "n_components": 3}


@pytest.fixture
def screen():
    adata = sg.datasets.screen(100, drugs=2, combinations=False)
    learner = sg.model.LightBridge(**FEW)
    options = {"covariates": ["cell_type"], "learner": learner, "progress": False}
    sg.tl.fit_perturbation(adata, "drug", "control", predict=False, **options)
    return adata


@pytest.fixture(scope="module")
def course():
    adata = sg.datasets.branching(40, rng=0)
    learner = sg.model.FlowMatching(steps=3, validation_fraction=0)
    sg.tl.fit_trajectory(adata, "time", learner=learner, predict=False, progress=False)
    return adata


@pytest.mark.medium
def test_a_fit_goes_to_a_file_and_back(screen, tmp_path):
    sg.tl.predict(screen, "D1")
    assert screen.obs["genot_uncertainty"].notna().sum() == 100
    assert "genot_growth" not in screen.obs
    screen.write_h5ad(tmp_path / "screen.h5ad")
    again = ad.read_h5ad(tmp_path / "screen.h5ad")
    sg.tl.predict(again, "D1")
    np.testing.assert_array_equal(screen.obsm["X_genot"], again.obsm["X_genot"])
    fit = sg.get.fit(again)
    assert fit.provenance["learner"]["type"] == "LightBridge"
    assert len(fit.model.laws) == 2  # one a drug, whatever the cell types
    again.uns["genot"]["model"]["weights"]["0.intercepts"] += 1
    with pytest.raises(sg.model.ModelFileError, match="weights of the model are damaged"):
        sg.tl.predict(again, "D1")


def test_a_model_file_stands_for_the_fit(tmp_path):
    adata = sg.datasets.mixtures(2, 1.0, n_cells=100)
    links = [sg.Link(sg.Pair(adata.X[:100], adata.X[100:]))]
    run = sg.model.Run(progress=False)
    file = tmp_path / "bridge.safetensors"
    sg.model.LightBridge(**FEW)(links, run).model.save(file)
    sg.tl.predict(adata, model=str(file), use_rep="X_pca")
    assert np.isfinite(adata.obsm["X_genot"]).all()


def test_epsilon_is_that_of_the_solver():
    adata = sg.datasets.mixtures(2, 1.0, n_cells=100)
    solver = sg.ot.Sinkhorn(epsilon=0.6, relative=False)
    options = {"learner": sg.model.LightBridge(**FEW), "predict": False, "progress": False}
    sg.tl.fit_trajectory(adata, "time", solver=solver, **options)
    assert sg.get.fit(adata).model.laws[0].epsilon == pytest.approx(0.3)


@pytest.mark.medium
def test_responses_and_evaluations(screen):
    features = [f"z{k}" for k in range(8)]
    decoder = {"decoder": lambda states: pd.DataFrame(states, columns=features)}
    table = sg.tl.response(screen, "D1", groupby="cell_type", **decoder)
    assert len(table) == 3 * 8
    every = sg.datasets.screen(150, drugs=2, combinations=False)
    fitted, new = (every[np.arange(every.n_obs) % 3 < 2].copy(), every[2::3].copy())
    options = {"learner": sg.model.LightBridge(**FEW), "predict": False, "progress": False}
    sg.tl.fit_perturbation(fitted, "drug", "control", **options)
    table = sg.tl.evaluate(fitted, new, n_resamples=5)
    bridge = table[table["method"] == "light bridge"]
    assert len(bridge) == 3
    assert set(bridge["kind"]) == {"baseline"}
    scores = table[table["condition"] == "mean"].set_index("method")["edistance"]
    assert scores["light bridge"] < scores["identity"]


def test_what_a_bridge_cannot_do(screen):
    before = screen.obs.copy()
    with pytest.raises(ValueError, match=r"`guidance=2\.0`: a model of type MixtureBridge takes"):
        sg.tl.predict(screen, "D1", guidance=2.0)
    integrator = sg.flow.SDE()
    with pytest.raises(ValueError, match=r"`integrator=SDE\(.*MixtureBridge takes no integrator"):
        sg.tl.predict(screen, "D1", integrator=integrator)
    model, between = sg.get.fit(screen).model, np.full(3, 0.5)
    with pytest.raises(ValueError, match="conditions that the bridge was not fitted with"):
        model.mean(screen.obsm["X_pca"], between)
    pd.testing.assert_frame_equal(before, screen.obs)
    rna, atac = sg.datasets.twins(40)
    options = {"solver": sg.ot.GromovWasserstein(n_starts=1), "progress": False}
    with pytest.raises(ValueError, match="`learner=LightBridge` needs source and target cells in"):
        sg.tl.fit_translation(rna, atac, learner=sg.model.LightBridge(), **options)
    assert "genot" not in rna.uns


@pytest.mark.medium
def test_integrators_are_passed_on(course):
    results = {}
    for name, integrator in {
        "default": None,
        "same": sg.flow.ODE("midpoint", steps=6),
        "fine": sg.flow.ODE("rk4", steps=20),
        "noisy": sg.flow.SDE(noise=1.0, steps=10),
    }.items():
        options = {"integrator": integrator, "copy": True, "n_samples": 4}
        results[name] = sg.tl.predict(course, **options).obsm["X_genot"]
    np.testing.assert_array_equal(results["default"], results["same"])
    for name in ("fine", "noisy"):
        assert np.nanmax(np.abs(results["default"] - results[name])) > 0
    assert np.nanmax(np.abs(results["default"] - results["fine"])) < 0.1
    features = [f"z{k}" for k in range(course.obsm["X_pca"].shape[1])]
    decoder = {"decoder": lambda states: pd.DataFrame(states, columns=features)}
    made = [
        sg.tl.simulate(course, integrator=sg.flow.SDE(steps=5), rng=k, **decoder).X
        for k in (0, 0, 1)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_an_integrator_that_is_none(course):
    with pytest.raises(TypeError, match="`integrator='midpoint'` must be an ODE or"):
        sg.tl.predict(course, integrator="midpoint")
