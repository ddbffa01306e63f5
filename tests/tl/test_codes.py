"""Measured cells under a model: p-values, and the same cells under another drug."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy.stats import kstest

import scgenot as sg

DRUGS = {"A": np.diag([2.0, 1.0, 0.5]), "B": np.diag([1.0, 3.0, 1.0])}
SHIFT = {"A": [4.0, 0.0, 0.0], "B": [0.0, -5.0, 1.0]}
FEW = {"steps": 3, "validation_fraction": 0}


@pytest.fixture
def screen():
    """Control cells and two drugs, each an own Gaussian map of control cells."""
    rng, n = np.random.default_rng(0), 60
    control = rng.normal(size=(3 * n, 3))
    drug = np.repeat(["control", "A", "B"], n)
    moved = [
        x if name == "control" else x + SHIFT[name] + 0.1 * DRUGS[name] @ rng.normal(size=3)
        for x, name in zip(control, drug, strict=True)
    ]
    names = [f"cell-{k}" for k in range(3 * n)]
    obs = pd.DataFrame({"drug": pd.Categorical(drug), "batch": ["x", "y"] * (3 * n // 2)}, names)
    adata = AnnData(np.stack(moved).astype(np.float32), obs)
    learner = sg.model.FlowMatching(**FEW)
    options = {"use_rep": "X", "covariates": ["batch"], "learner": learner, "progress": False}
    sg.tl.fit_perturbation(adata, "drug", "control", predict=False, **options)
    return adata


class Exact:
    """y = x + shift + matrix z of the drug that the condition names."""

    source_dim = target_dim = 3
    condition_dim, displacement = 0, False

    def __init__(self, task):
        self.conditions = {name: task.conditions.encode(name, None) for name in DRUGS}

    def laws(self, condition):
        for name, code in self.conditions.items():
            yield name, np.isclose(condition, code).all(1)

    def encode(self, source, target, condition):
        code = np.full(target.shape, np.nan)
        for name, rows in self.laws(condition):
            off = target[rows] - source[rows] - SHIFT[name]
            code[rows] = off @ np.linalg.inv(DRUGS[name])
        return torch.as_tensor(code)

    def decode(self, source, code, condition):
        out = np.full(code.shape, np.nan)
        for name, rows in self.laws(condition):
            out[rows] = source[rows] + SHIFT[name] + code[rows] @ DRUGS[name]
        return torch.as_tensor(out)

    def sample(self, source, condition=None, *, n_samples=1, rng=0):
        raise NotImplementedError


@pytest.fixture
def exact(screen):
    fit = sg.get.fit(screen)
    return fit.with_model(Exact(fit.task))


def test_counterfactuals_keep_the_noise_of_a_cell(screen, exact):
    found = sg.tl.counterfactual(screen, "B", model=exact)
    treated = screen[screen.obs["drug"] != "control"]
    assert list(found.obs["source_cell"]) == list(treated.obs_names)
    assert (found.obs["drug"] == "B").all()
    assert (found.obs["genot_origin"] == "counterfactual").all()
    control = screen[found.obs["control_cell"].to_numpy()]
    assert (control.obs["drug"] == "control").all()
    # within the stratum of the cell
    assert (control.obs["batch"].to_numpy() == treated.obs["batch"].to_numpy()).all()
    for name in DRUGS:
        rows = (treated.obs["drug"] == name).to_numpy()
        noise = (treated.X[rows] - control.X[rows] - SHIFT[name]) @ np.linalg.inv(DRUGS[name])
        expected = control.X[rows] + SHIFT["B"] + noise @ DRUGS["B"]
        np.testing.assert_allclose(found.X[rows], expected, atol=1e-4)
    # under its own drug a cell is what it was
    own = (treated.obs["drug"] == "B").to_numpy()
    np.testing.assert_allclose(found.X[own], treated.X[own], atol=1e-4)


@pytest.mark.medium
def test_some_cells_of_a_fit_elsewhere(screen):
    some = screen[screen.obs["drug"] == "A"].copy()
    del some.uns["genot"]
    found = sg.tl.counterfactual(some, "B", model=screen)
    assert found.n_obs == some.n_obs
    joined = screen.copy()
    whole = sg.tl.counterfactual(joined, "B")
    assert whole.n_obs == 2 * some.n_obs
    again = sg.tl.counterfactual(some, "B", model=screen)
    np.testing.assert_array_equal(found.X, again.X)


def test_likely_control_cells_are_near(screen, exact):
    found = sg.tl.counterfactual(screen, "A", model=exact)
    treated = screen[found.obs["source_cell"].to_numpy()]
    control = screen[found.obs["control_cell"].to_numpy()]
    back = treated.X - [SHIFT[name] for name in treated.obs["drug"]]
    near = np.linalg.norm(back - control.X, axis=1).mean()
    others = np.random.default_rng(0).permutation(control.X)
    assert near < 0.7 * np.linalg.norm(back - others, axis=1).mean()


@pytest.mark.medium
def test_p_values_are_written_for_treated_cells(screen):
    before = screen.obs.columns
    assert sg.tl.score_cells(screen) is None
    values, treated = screen.obs["genot_p_value"], screen.obs["drug"] != "control"
    assert values[treated].between(0, 1).all()
    assert values[~treated].isna().all()
    copied = sg.tl.score_cells(screen, copy=True)
    pd.testing.assert_series_equal(copied.obs["genot_p_value"], values)
    learner = sg.model.FlowMatching(**FEW)
    options = {"use_rep": "X", "learner": learner, "predict": False, "progress": False}
    sg.tl.fit_perturbation(screen, "drug", "control", **options)
    assert list(screen.obs.columns) == list(before)  # those of an older fit are gone


def test_cells_of_drugs_that_were_not_fitted_have_none(screen):
    new = screen[screen.obs["drug"] != "control"].copy()
    del new.uns["genot"]
    new.obs_names = [f"new-{k}" for k in range(new.n_obs)]
    new.obs["drug"] = new.obs["drug"].astype(str).replace("B", "C")
    sg.tl.score_cells(new, model=screen)
    values = new.obs["genot_p_value"]
    assert values[new.obs["drug"] == "A"].notna().all()
    assert values[new.obs["drug"] == "C"].isna().all()
    new.obs["drug"] = "C"
    with pytest.raises(ValueError, match="No cell of `adata` is a target cell of the fit"):
        sg.tl.score_cells(new, model=screen)


def more_of_drug_a(n, rng, name):
    """New cells of the law of drug A."""
    rng = np.random.default_rng(rng)
    cells = rng.normal(size=(n, 3)) + SHIFT["A"] + 0.1 * rng.normal(size=(n, 3)) @ DRUGS["A"]
    obs = pd.DataFrame({"drug": "A", "batch": "x"}, [f"{name}{k}" for k in range(n)])
    return AnnData(cells.astype(np.float32), obs)


@pytest.mark.medium
def test_ranks_among_held_out_cells_are_uniform_under_a_wrong_model(screen):
    new, held_out = more_of_drug_a(300, 1, "new"), more_of_drug_a(300, 2, "held")
    sg.tl.score_cells(new, model=screen)
    assert kstest(new.obs["genot_p_value"], "uniform").statistic > 0.16  # hardly trained
    sg.tl.score_cells(new, held_out=held_out, model=screen)
    found = new.obs["genot_p_value"]
    # two samples of 300: .16 is passed once in a thousand times
    assert kstest(found, "uniform").statistic < 0.16
    assert found.min() >= 1 / 301
    new.obs["drug"] = "B"  # of which none are held out
    sg.tl.score_cells(new, held_out=held_out, model=screen)
    assert new.obs["genot_p_value"].isna().all()
    with pytest.warns(UserWarning, match="names of cells that were fitted, whose codes"):
        sg.tl.score_cells(new, held_out=screen, model=screen)


@pytest.mark.slow
def test_p_values_of_new_cells_are_uniform():
    def cells(n):
        return sg.datasets.gaussians(n, dim=3, epsilon=1.0)

    fitted, every = cells(3000), cells(8000)
    solver = sg.ot.Sinkhorn(epsilon=1.0, relative=False)
    learner = sg.model.FlowMatching(steps=2000)
    options = {"solver": solver, "learner": learner, "predict": False, "progress": False}
    sg.tl.fit_trajectory(fitted, "time", **options)
    new = every[every.obs["time"] == 1][-1000:].copy()
    new.obs_names = [f"new-{k}" for k in range(new.n_obs)]
    sg.tl.score_cells(new, model=fitted)
    assert kstest(new.obs["genot_p_value"], "uniform").statistic <= 0.06
    new.obsm["X_pca"] = new.obsm["X_pca"] + 10.0
    sg.tl.score_cells(new, model=fitted)
    assert new.obs["genot_p_value"].max() < 1e-6


def test_time_courses():
    adata = sg.datasets.branching(40, rng=0)
    learner = sg.model.FlowMatching(**FEW)
    sg.tl.fit_trajectory(adata, "time", learner=learner, predict=False, progress=False)
    sg.tl.score_cells(adata)
    values = adata.obs["genot_p_value"]
    assert values[adata.obs["time"] == 0].isna().all()
    assert values[adata.obs["time"] > 0].notna().all()
    with pytest.raises(ValueError, match="`counterfactual` needs a fit from `fit_perturbation`"):
        sg.tl.counterfactual(adata, 1.0)


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:.*The match between:UserWarning")
def test_translations():
    rna, atac = sg.datasets.twins(60)
    options = {"solver": sg.ot.GromovWasserstein(n_starts=2, search_cells=40), "predict": False}
    learner = sg.model.FlowMatching(**FEW)
    sg.tl.fit_translation(rna, atac, learner=learner, progress=False, **options)
    sg.tl.score_cells(atac, model=rna)
    assert atac.obs["genot_p_value"].between(0, 1).all()
    with pytest.raises(ValueError, match="its target cells are in another AnnData"):
        sg.tl.score_cells(rna)


@pytest.mark.parametrize("verb", ["score_cells", "counterfactual"])
def test_models_that_do_not_encode(screen, verb):
    asked = ("B",) if verb == "counterfactual" else ()
    learner = sg.model.LightBridge(steps=5, n_components=2)
    options = {"use_rep": "X", "learner": learner, "predict": False, "progress": False}
    sg.tl.fit_perturbation(screen, "drug", "control", **options)
    match = f"`sg.tl.{verb}` needs a model with `encode`, and one of type MixtureBridge has none"
    before = screen.copy()
    with pytest.raises(ValueError, match=match):
        getattr(sg.tl, verb)(screen, *asked)
    assert list(before.obs) == list(screen.obs)


def test_plans_that_know_fitted_cells_only(screen):
    solver = sg.ot.Sinkhorn(cost=lambda x, y: torch.cdist(x, y))
    learner = sg.model.FlowMatching(**FEW)
    options = {"use_rep": "X", "learner": learner, "predict": False, "progress": False}
    sg.tl.fit_perturbation(screen, "drug", "control", solver=solver, **options)
    with pytest.raises(ValueError, match=r"`sg\.tl\.score_cells` needs a plan with `transposed`"):
        sg.tl.score_cells(screen)


def test_a_model_without_its_fit(screen):
    model = sg.get.fit(screen).model
    alone = screen[screen.obs["drug"] == "A"].copy()
    del alone.uns["genot"]
    with pytest.raises(ValueError, match="`model` has no fit"):
        sg.tl.score_cells(alone, model=model, use_rep="X")


def test_unknown_targets_are_refused(screen):
    with pytest.raises(KeyError, match="`target` names 'C'"):
        sg.tl.counterfactual(screen, "C")
    with pytest.raises(ValueError, match="`target` is needed"):
        sg.tl.counterfactual(screen)
    with pytest.raises(ValueError, match="is the control"):
        sg.tl.counterfactual(screen, "control")


def test_the_picture(screen):
    sg.tl.score_cells(screen)
    ax = sg.pl.score_cells(screen)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [text.split(":")[0] for text in texts[:2]] == ["A", "B"]
    assert "n = 60" in texts[0]
    assert len(sg.pl.score_cells(screen, groupby="batch").get_legend().get_texts()) == 3
    plt.close("all")
    del screen.obs["genot_p_value"]
    with pytest.raises(KeyError, match=r"run `sg\.tl\.score_cells"):
        sg.pl.score_cells(screen)
    screen.obs["genot_p_value"] = np.nan
    with pytest.raises(ValueError, match="is NaN for every cell"):
        sg.pl.score_cells(screen)
