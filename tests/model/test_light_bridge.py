"""Light bridges: recovered laws, their units, conditions, storage and what is refused."""

import numpy as np
import pytest

import scgenot as sg
from scgenot._outcome import Outcome
from truth.gaussians import random_problem
from truth.laws import bures_wasserstein

RUN = sg.model.Run(progress=False)
FEW = {"steps": 30, "batch_size": 64, "n_components": 3}


def error(law, x, model, total: float) -> float:
    """Conditional Bures-Wasserstein error of exact moments, in % of the target's variance."""
    other = model.laws[0] if isinstance(model, sg.model.MixtureBridge) else model
    moments = other.mean(x), other.covariance(x), law.mean(x), law.covariance(x)
    return float(200 * bures_wasserstein(*moments).mean() / total)


def own_plan(n: int, dim: int, seed: int):
    """Cells of a law of the family, and the law."""
    adata = sg.datasets.mixtures(dim, 1.0, seed, n_cells=n)
    truth = adata.uns["truth"]
    diagonal = np.diagonal(truth["slopes"], axis1=1, axis2=2)
    law = sg.model.MixtureLaw(truth["weights"], truth["intercepts"], diagonal, 1.0)
    rng = np.random.default_rng(seed + 1)
    x, unseen = rng.standard_normal((2, n, dim))
    return sg.Pair(x, law.sample(unseen, rng=rng)[:, 0]), law


@pytest.mark.medium
def test_a_law_of_the_family_is_found():
    pair, law = own_plan(2000, 2, 0)
    x = np.random.default_rng(5).standard_normal((200, 2))
    learner = sg.model.LightBridge(epsilon=1.0, relative=False)
    found = learner([sg.Link(pair)], RUN)
    # five modes of 400 cells each: their means alone are off by Tr B_k / 400, .25 % each way
    assert error(law, x, found.model, pair.target.var(0).sum()) < 1.5
    assert found.outcomes == (Outcome.COMPLETED,)
    assert list(found.history["step"]) == [*range(100, 1501, 100)]
    assert found.history["loss"].iloc[-1] < found.history["loss"].iloc[0]


def test_a_solver_without_epsilon_leaves_the_default():
    draw = np.random.default_rng(0)
    pair = sg.Pair(draw.normal(size=(60, 2)), draw.normal(size=(60, 2)))
    run, learner = sg.model.Run(progress=False), sg.model.LightBridge(**FEW)
    plans = None, sg.ot.Neighbors(n_neighbors=10, device="cpu")(pair)
    models = [learner([sg.Link(pair, plan=plan)], run).model for plan in plans]
    found = [model.laws[0].epsilon for model in models]
    assert found[0] == found[1] > 0


@pytest.mark.medium
def test_gaussians_with_the_epsilon_of_a_plan():
    # cost |x - y|^2 and epsilon are cost |x - y|^2 / 2 and half of it
    rng = np.random.default_rng(1)
    problem = random_problem(2, rng)
    pair = sg.Pair(problem.sample_source(3000, rng), problem.sample_target(3000, rng))
    plan = sg.ot.Sinkhorn(epsilon=problem.epsilon, relative=False)(pair)
    (law,) = sg.model.LightBridge(n_components=20)([sg.Link(pair, plan=plan)], RUN).model.laws
    assert law.epsilon == pytest.approx(problem.epsilon / 2, rel=1e-6)
    x = problem.sample_source(300, rng)
    moments = law.mean(x), law.covariance(x), problem.mean(x), problem.S
    # a linear map with correlations is made of pieces here
    assert 200 * bures_wasserstein(*moments).mean() / np.trace(problem.B) < 4


def test_units_do_not_matter():
    pair, _ = own_plan(300, 3, 2)
    moved = sg.Pair(100 * pair.source + 7, 100 * pair.target - 1000)
    laws = []
    for one, epsilon in ((pair, 0.5), (moved, 5000.0)):
        learner = sg.model.LightBridge(epsilon=epsilon, relative=False, **FEW)
        laws += learner([sg.Link(one)], RUN).model.laws
    ours, theirs = laws
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(theirs.mean(100 * x + 7), 100 * ours.mean(x) - 1000, rtol=1e-2)


def test_an_unbalanced_plan_bridges_what_it_couples():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(100, 2)) + 40])
    pair = sg.Pair(x, rng.normal(size=(300, 2)))
    plan = sg.ot.Sinkhorn(epsilon=0.01, tau=(0.3, 1.0))(pair)
    from scgenot.model.light_bridge import marginals

    weights, _ = marginals(sg.Link(pair, plan=plan))
    assert weights[200:].sum() < 1e-3 * weights.sum()


def test_each_condition_has_its_law_and_strata_are_pooled():
    rng = np.random.default_rng(0)
    links = [
        sg.Link(sg.Pair(x, x + shift, condition=np.array(condition)), stratum={"donor": donor})
        for condition, shift in (([1.0, 0.0], 10.0), ([0.0, 1.0], -10.0))
        for donor in ("a", "b")
        for x in [rng.normal(size=(150, 2))]
    ]
    model = sg.model.LightBridge(**FEW)(links, RUN).model
    assert len(model.laws) == 2
    x = rng.normal(size=(6, 2))
    asked = np.array([[1.0, 0.0], [0.0, 1.0]] * 3)
    draws = model.sample(x, asked, n_samples=4, rng=3)
    assert draws.shape == (6, 4, 2)
    assert (np.sign(draws - x[:, None]) == np.where(asked[:, :1, None] > 0, 1, -1)).all()
    np.testing.assert_array_equal(draws, model.sample(x, asked, n_samples=4, rng=3))
    np.testing.assert_allclose(model.mean(x[:1], asked[0])[0], model.laws[0].mean(x[:1])[0])
    with pytest.raises(ValueError, match="`condition` has 1 conditions that the bridge was not"):
        model.sample(x, np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"`condition` has shape None, the model was made for"):
        model.mean(x)
    with pytest.raises(ValueError, match=r"`source` has shape \(6, 3\), expected \(6, 2\)"):
        model.mean(np.ones((6, 3)), asked)
    with pytest.raises(ValueError, match=r"`target` has shape \(5, 2\), expected \(6, 2\)"):
        model.log_prob(x, x[:5], asked)


def test_two_spaces_are_refused():
    x = np.random.default_rng(0).normal(size=(30, 3))
    learner, match = sg.model.LightBridge(**FEW), "`learner=LightBridge` needs source and target"
    with pytest.raises(ValueError, match=match):
        learner([sg.Link(sg.Pair(x, x[:, :2]))], RUN)
    with pytest.raises(ValueError, match=match):
        learner([sg.Link(sg.Pair(x, x), within=False)], RUN)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"n_components": 0}, ValueError),
        ({"n_components": 2.5}, TypeError),
        ({"epsilon": 0.0}, ValueError),
        ({"epsilon": "auto"}, TypeError),
        ({"learning_rate": -1.0}, ValueError),
        ({"relative": "yes"}, TypeError),
    ],
)
def test_options(options, kind):
    with pytest.raises(kind, match=f"`{next(iter(options))}"):
        sg.model.LightBridge(**options)


def test_a_file(tmp_path):
    pair, _ = own_plan(100, 2, 0)
    model = sg.model.LightBridge(**FEW)([sg.Link(pair)], RUN).model
    model.save(tmp_path / "bridge.safetensors")
    again = sg.model.MixtureBridge.load(tmp_path / "bridge.safetensors")
    x = pair.source[:5]
    np.testing.assert_array_equal(model.sample(x, rng=1), again.sample(x, rng=1))
    with pytest.raises(sg.model.ModelFileError, match="is not a scgenot model"):
        sg.Genot.load(tmp_path / "bridge.safetensors")


def test_damaged_arrays_are_refused():
    pair, _ = own_plan(100, 2, 0)
    config, arrays = sg.model.LightBridge(**FEW)([sg.Link(pair)], RUN).model.to_arrays()
    for damaged in (
        ({**config, "format": 99}, arrays),
        ({**config, "laws": 2}, arrays),
        (config, {k: v for k, v in arrays.items() if k != "0.slopes"}),
        (config, {**arrays, "0.slopes": -arrays["0.slopes"]}),
    ):
        with pytest.raises(sg.model.ModelFileError):
            sg.model.MixtureBridge.from_arrays(*damaged)
