"""Source cells far from all fitted ones: a linear law whose moments and density are known."""

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy.stats import multivariate_normal

import scgenot as sg
from scgenot.model import FlowMatching, Genot, ModelFileError, Run, fit_extrapolation
from scgenot.model.extrapolation_fit import DRAWS_PER_CELL, MOST, regress
from scgenot.model.support import FAR
from scgenot.pair import Link, Pair

DIM = 3
SHIFT = np.array([2.0, 0.0, -1.0])
SLOPES = np.array([[0.5, 0.0, 0.2], [0.0, -0.3, 0.0], [0.1, 0.0, 0.0]])
NOISE = np.array([[0.3, 0.0, 0.0], [0.1, 0.2, 0.0], [0.0, 0.1, 0.4]])


class Identity:
    """The plan that pairs cells in order."""

    def __init__(self, n):
        self.n = n

    def sample_pairs(self, n, *, generator):
        i = torch.randint(self.n, (n,), generator=generator)
        return i, i


def linear_pair(n=400, seed=0, condition=None, shift=SHIFT):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, (n, DIM))
    y = x + shift + x @ SLOPES + rng.normal(size=(n, DIM)) @ NOISE.T
    return Pair(x, y, condition=condition)


def fitted(pairs, dropout=0.0, **options):
    torch.manual_seed(0)
    n_conditions = 0 if pairs[0].condition is None else len(pairs[0].condition)
    model = Genot(
        DIM, DIM, n_conditions, displacement=True, condition_dropout=dropout, width=8, depth=1
    ).double()
    model.units.fit(pairs, np.concatenate([pair.target - pair.source for pair in pairs]))
    fit_extrapolation(model, pairs, [Identity(len(p.source)) for p in pairs], **options)
    return model


def test_the_regression_is_that_of_its_normal_equations():
    """At the minimum of |d - shift - x B|^2 / n + penalty v |B|^2 the gradient in B is 0."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(1, 2, (50, 5)), rng.normal(size=(50, 3))
    center, shift, slopes, _ = regress(
        [(source[:20], target[:20]), (source[20:], target[20:])], 0.7
    )
    x, d = source - center, target - source[:, :3] - shift
    left = d - x @ slopes
    gradient = -x.T @ left / 50 + 0.7 * x.var(0).mean() * slopes
    np.testing.assert_allclose(gradient, 0, atol=1e-12)
    np.testing.assert_allclose(left.mean(0), 0, atol=1e-12)


def test_samples_of_fitted_cells_have_the_covariance_of_their_targets():
    """With any penalty, within strata: that of the means and that of the noise add up to it."""
    rng = np.random.default_rng(0)
    drawn = []
    for center in (-5, 5):
        x = rng.normal(center, 2, (200, DIM))
        drawn.append((x, 0.4 * x + rng.normal(3, 2, (200, DIM))))
    _, shift, slopes, noise = regress(drawn, 0.7)
    middle = np.concatenate([x for x, _ in drawn]).mean(0)
    inside = [np.zeros((DIM, DIM)), np.zeros((DIM, DIM))]
    for x, y in drawn:
        inside[0] += np.cov(y.T, ddof=0) / 2
        inside[1] += np.cov((x + shift + (x - middle) @ slopes).T, ddof=0) / 2
    np.testing.assert_allclose(noise @ noise.T + inside[1], inside[0], atol=1e-9)
    assert (np.triu(noise, 1) == 0).all()


def test_far_cells_get_the_linear_law():
    pair = linear_pair()
    model = fitted([pair], penalty=1e-9)
    far = np.array([[60.0, 0, 0], [0, -80.0, 50.0]])
    assert (model.support(far) == 0).all()
    # the regression, at a penalty of p / n, on the pairs that were drawn
    found = model.extrapolation
    expected = far + (found.shift + (torch.tensor(far) - found.center) @ found.slopes[0]).numpy()
    n = 4000
    draws = model.sample(far, n_samples=n).numpy()
    cov = (found.noise[0] @ found.noise[0].T).numpy()
    error = np.sqrt(np.diag(cov) / n)
    assert (np.abs(draws.mean(1) - expected) < 4 * error).all()
    for cell in draws:  # the standard error of a variance is at most sqrt(2 / n) of it
        np.testing.assert_allclose(
            np.cov(cell.T), cov, atol=4 * np.sqrt(2 / n) * np.diag(cov).max()
        )
    # and the law is the true one: 1,600 drawn pairs of 400 cells know slopes to
    # noise / (2 sqrt(400)), and a penalty of 3 / 400 shrinks them by a hundredth
    slopes = found.slopes[0].numpy()
    np.testing.assert_allclose(slopes, SLOPES, atol=4 * 0.42 / 40 + 0.01)


def test_the_density_of_far_cells_is_that_of_the_linear_law():
    model = fitted([linear_pair()])
    found, far = model.extrapolation, np.array([[60.0, 0, 0]])
    mean = far + (found.shift + (torch.tensor(far) - found.center) @ found.slopes[0]).numpy()
    cov = (found.noise[0] @ found.noise[0].T).numpy()
    y = mean + np.array([[0.3, -0.2, 0.5]])
    expected = multivariate_normal(mean[0], cov).logpdf(y)
    np.testing.assert_allclose(model.log_prob(far, y).numpy(), expected, rtol=1e-9)


def test_the_density_between_is_the_mixture():
    pair = linear_pair()
    model = fitted([pair])
    cells = np.random.default_rng(1).normal(0, 2.4, (200, DIM))
    between = cells[[0 < s < 1 for s in model.support(cells)]][:5]
    y = between + SHIFT
    mixed, support = model.log_prob(between, y).exp(), model.support(between)
    linear = model.extrapolation.log_prob(*map(torch.tensor, (between, y)), None).exp()
    model.extrapolation = None
    expected = support * model.log_prob(between, y).exp() + (1 - support) * linear
    assert len(between) == 5
    torch.testing.assert_close(mixed, expected)


def test_new_cells_of_the_population_are_rarely_extrapolated():
    """Their rank is about uniform, so that the mean of min(1, rank / FAR) is about 1 - FAR / 2."""
    rng = np.random.default_rng(2)
    model = fitted([linear_pair(1000)])
    support = model.support(rng.normal(0, 2, (4000, DIM))).numpy()
    # of ranks among 1,000 the standard error is that of 1,000 cells: sqrt(FAR / 3) at most; that
    # the scale around a fitted cell knows its own distance makes ranks a little smaller
    assert abs(support.mean() - (1 - FAR / 2)) < 4 * np.sqrt(FAR / 3) / np.sqrt(1000) + 0.02


def test_fitted_cells_rare_types_and_sparse_ones_are_near():
    rng = np.random.default_rng(3)
    parts = (
        rng.normal(0, 0.5, (3000, DIM)),
        9 + rng.normal(0, 3, (100, DIM)),
        -9 + rng.normal(size=(25, DIM)),
    )
    model = fitted([Pair(x, x + 1) for x in parts])
    assert (model.support(parts[1]) == 1).all()  # of small populations all cells are kept
    assert (model.support(parts[2]) == 1).all()
    assert model.extrapolation.sizes["n_reference"] <= MOST
    new = rng.normal(0, 0.5, (500, DIM)), 9 + rng.normal(0, 3, (500, DIM))
    for cells in new:
        assert model.support(cells).mean() > 0.75
    # each cell twice, but for rounding
    x = linear_pair(500).source
    twice = np.concatenate([x, x + rng.normal(0, 1e-6, x.shape)])
    model = fitted([Pair(twice, twice + 1)])
    assert model.support(rng.normal(0, 2, (500, DIM))).mean() > 0.8


def test_a_cell_is_near_those_that_were_fitted_under_its_condition():
    first, second = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    near, far = linear_pair(100).source, linear_pair(100, seed=1).source + 40
    pairs = [Pair(near, near + 1, condition=first), Pair(near, near + 1, condition=second)]
    model = fitted([*pairs, Pair(far, far + 1, condition=second)])
    assert (model.support(far, first) == 0).all()
    assert (model.support(far, second) == 1).all()
    assert (model.support(near, first) == 1).all()
    assert model.extrapolation.sizes == {"n_conditions": 2, "n_groups": 2, "n_reference": 200}


def test_pairs_of_a_condition_share_a_regression_and_others_have_their_own():
    first, second = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    pairs = [linear_pair(seed=0, condition=first), linear_pair(seed=1, condition=first)]
    pairs.append(linear_pair(seed=2, condition=second, shift=-SHIFT))
    model = fitted(pairs)
    sizes = {"n_conditions": 2, "n_groups": 2, "n_reference": 1200}
    assert model.extrapolation.sizes == sizes
    far = np.full((1, DIM), 50.0)
    one, two = (model.mean(far, told, n_samples=500).numpy() for told in (first, second))
    slopes = model.extrapolation.slopes.numpy()
    assert np.abs(one - two - 2 * SHIFT - 50 * (slopes[0] - slopes[1]).sum(0)).max() < 0.3
    # a condition that was not fitted has no regression
    assert (model.support(far, np.array([0.5, 0.5])) == 1).all()
    both = model.support(np.repeat(far, 2, 0), np.stack([first, first + 0.5]))
    np.testing.assert_array_equal(both, [0, 1])


def test_guided_samples_come_from_the_flow():
    model = fitted([linear_pair(condition=np.array([1.0]))], dropout=0.1)
    far, told = np.full((2, DIM), 50.0), np.array([1.0])
    guided = model.sample(far, told, guidance=2.0)
    model.extrapolation = None
    torch.testing.assert_close(model.sample(far, told, guidance=2.0), guided)


def test_samples_do_not_depend_on_the_batch_size_and_repeat():
    model = fitted([linear_pair()])
    cells = np.random.default_rng(3).normal(0, 3, (40, DIM))
    whole = model.sample(cells, n_samples=5, rng=7)
    torch.testing.assert_close(model.sample(cells, n_samples=5, rng=7, batch_size=6), whole)
    near = model.support(cells) == 1
    model.extrapolation = None
    torch.testing.assert_close(model.sample(cells, n_samples=5, rng=7)[near], whole[near])
    assert (model.support(cells) == 1).all()


def test_few_cells_have_no_extrapolation():
    assert fitted([linear_pair(19)]).extrapolation is None
    few = Pair(np.repeat(linear_pair(19).source, 5, axis=0), np.zeros((95, DIM)))
    model = fitted([linear_pair(30)])
    fit_extrapolation(model, [few], [Identity(95)])
    assert model.extrapolation is None


def test_one_response_of_all_cells_and_one_source_cell():
    pair = linear_pair(30)
    draws = fitted([Pair(pair.source, pair.source + 1)]).sample(np.full((1, DIM), 1e3), n_samples=4)
    np.testing.assert_allclose(draws, 1001, rtol=1e-3)
    # a plan that takes one cell only: slopes are not known, its mean shift is
    source = np.full((40, DIM), 0.1)
    center, shift, slopes, _ = regress([(source, source + 2)], 0.7)
    np.testing.assert_allclose(center + shift, 2.1)
    assert (slopes == 0).all()


def test_no_cells():
    model = fitted([linear_pair()])
    assert model.sample(np.zeros((0, DIM)), n_samples=2).shape == (0, 2, DIM)
    assert model.support(np.zeros((0, DIM))).shape == (0,)


def test_a_stored_model_extrapolates_alike_and_damage_is_named(tmp_path):
    model = fitted([linear_pair()])
    path, far = tmp_path / "model.safetensors", np.full((2, DIM), 30.0)
    model.save(path)
    torch.testing.assert_close(Genot.load(path).sample(far, rng=1), model.sample(far, rng=1))
    config, arrays = model.to_arrays()
    name = "extrapolation"
    sizes = config[name]
    for changed in (sizes | {"n_reference": 4}, {"n_conditions": 1}, None, "x"):
        with pytest.raises(ModelFileError, match=name):
            Genot.from_arrays(config | {name: changed}, arrays)
    for part, value in {
        "shift": np.float64(0),
        "noise": 0 * arrays[f"{name}.noise"],
        "group": arrays[f"{name}.group"] + 1,
        "near.ranked": -arrays[f"{name}.near.ranked"],
        "near.scale": 0 * arrays[f"{name}.near.scale"],
    }.items():
        with pytest.raises(ModelFileError, match=part.split(".")[-1]):
            Genot.from_arrays(config, arrays | {f"{name}.{part}": value})
    with pytest.raises(ModelFileError, match="extrapolation"):
        Genot.from_arrays(config | {"displacement": False}, arrays)
    del config[name]
    with pytest.raises(ModelFileError, match=name):
        Genot.from_arrays(config, arrays)


def test_wrong_options_are_named():
    pair = linear_pair()
    plain = Genot(DIM, DIM)
    with pytest.raises(ValueError, match="displacement=True"):
        fit_extrapolation(plain, [pair], [Identity(400)])
    with pytest.raises(ValueError, match="1 pairs and 0 plans"):
        fitted([pair]) and fit_extrapolation(fitted([pair]), [pair], [])
    for penalty in (0, np.inf):
        with pytest.raises(ValueError, match="penalty"):
            fitted([pair], penalty=penalty)
    with pytest.raises(ValueError, match="sizes"):
        fit_extrapolation(fitted([pair]), [linear_pair(condition=np.ones(1))], [Identity(400)])
    with pytest.raises(TypeError, match="model"):
        fit_extrapolation("model", [pair], [Identity(400)])
    with pytest.raises(ValueError, match="not finite"):
        fitted([pair]).support(np.full((1, DIM), np.nan))
    with pytest.raises(ValueError, match="extrapolation"):
        FlowMatching(extrapolation="both")


@pytest.mark.medium
def test_the_learner_leaves_it_out_without_displacements():
    pair = linear_pair(50)
    link = Link(pair, np.arange(50), np.arange(50), plan=Identity(50))
    task = {"steps": 2, "extrapolation": "linear", "displacement": True}
    run = Run(progress=False, defaults=task)
    assert FlowMatching()([link], run).model.extrapolation is not None
    assert FlowMatching(displacement=False)([link], run).model.extrapolation is None
    assert FlowMatching(extrapolation="flow")([link], run).model.extrapolation is None
    few = Pair(pair.source[:19], pair.target[:19])
    few = Link(few, np.arange(19), np.arange(19), plan=Identity(19))
    assert FlowMatching()([few], run).model.extrapolation is None
    with pytest.warns(UserWarning, match="was not possible"):
        FlowMatching(extrapolation="linear")([few], run)
    with pytest.raises(ValueError, match="displacement=True"):
        FlowMatching(displacement=False, extrapolation="linear")([link], run)


def types_with_one_untreated():
    """Three types with one linear response, which does not depend on where the third one is."""
    rng, slopes = np.random.default_rng(0), SLOPES * [[1], [1], [0]]
    centers = np.array([[-4.0, 0, 0], [4.0, 0, 0], [0, 0, 9.0]])
    kind = np.repeat(np.arange(3), 200)
    control = centers[kind] + rng.normal(size=(600, DIM))
    treated = control + SHIFT + control @ slopes + rng.normal(0, 0.5, (600, DIM))
    x = np.concatenate([control, treated[kind < 2]]).astype(np.float32)
    adata = AnnData(x)
    adata.obs["type"] = np.concatenate([kind, kind[kind < 2]]).astype(str)
    adata.obs["drug"] = ["control"] * 600 + ["drug"] * 400
    return adata, treated[kind == 2]


@pytest.mark.slow
def test_a_type_that_was_not_treated_is_answered_better():
    """The response is linear, and the third type lies where no fitted cell is."""
    errors, adata = {}, None
    for how in ("linear", "flow"):
        adata, truth = types_with_one_untreated()
        sg.tl.fit_perturbation(
            *(adata, "drug", "control"),
            use_rep="X",
            covariates=["type"],
            learner=FlowMatching(steps=500, extrapolation=how),
            progress=False,
        )
        rows = (adata.obs["type"] == "2").to_numpy() & (adata.obs["drug"] == "control").to_numpy()
        errors[how] = sg.metrics.energy_distance(adata.obsm["X_genot"][rows], truth, unbiased=True)
        assert ("genot_support" in adata.obs) == (how == "linear")
        if how == "linear":
            support = adata.obs["genot_support"]
            assert support[rows].max() < 0.05
            assert support[(adata.obs["drug"] == "control") & ~rows].mean() > 0.85
            assert support[adata.obs["drug"] == "drug"].isna().all()
    assert errors["linear"] < 0.5 * errors["flow"]


def test_pairs_of_the_regression_are_drawn_from_the_plan():
    counted = []

    class Counting(Identity):
        def sample_pairs(self, n, *, generator):
            counted.append(n)
            return super().sample_pairs(n, generator=generator)

    pair = linear_pair(60)
    fit_extrapolation(fitted([pair]), [pair], [Counting(60)])
    assert counted == [60 * DRAWS_PER_CELL]
