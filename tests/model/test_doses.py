"""Doses between fitted ones: predictions are those at the fitted doses, interpolated."""

import numpy as np
import pytest
import torch

import scgenot as sg
from scgenot.flow import SetEncoder
from scgenot.model import FlowMatching, Genot, LightBridge, ModelFileError, MongeMap, Run
from scgenot.model.map import TransportMap
from scgenot.pair import Link, Pair

DIM, N = 2, 30
A, B = (1.0, 0.0), (0.0, 1.0)
CONTROL = [0.0] * 6


def told(*parts, further=()):
    """A condition of two slots, each a strength and a token."""
    slots = [value for strength, token in parts for value in (strength, *token)]
    return [*slots, *CONTROL[len(slots) :], *further]


def pair(condition, seed=0, move=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, DIM))
    y = x + move + 0.3 * rng.normal(size=(N, DIM))
    return Pair(x, y, condition=np.array(condition))


def encoder(n_further=0):
    torch.manual_seed(1)
    return SetEncoder(2, 2, n_further)


def model_of(conditions, kind=Genot, n_further=0, **options):
    """A model with random weights, fitted at some conditions."""
    torch.manual_seed(0)
    sizes = (DIM, DIM) if kind is Genot else (DIM,)
    made = encoder(n_further + (options.get("condition_dropout", 0) > 0))
    model = kind(*sizes, 6 + n_further, width=8, depth=1, encoder=made, **options)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    pairs = [pair(one, seed) for seed, one in enumerate(conditions)]
    moved = np.concatenate([one.target - one.source for one in pairs])
    model.units.fit(pairs, moved if options.get("displacement") else None)
    model.fit_strengths(pairs)
    return model.eval()


FITTED = [CONTROL, told((0.4, A)), told((1.0, A)), told((0.4, B)), told((0.4, A), (0.4, B))]


def ends(model, condition):
    found = model.dose_ends(torch.tensor([condition], dtype=torch.float32))
    return None if found is None else [side[0].tolist() for side in found]


def test_the_ends_of_a_dose_are_the_nearest_fitted_ones_of_its_perturbation():
    model = model_of(FITTED)
    low, high, fraction = ends(model, told((0.7, A)))
    np.testing.assert_allclose([low, high], [FITTED[1], FITTED[2]], rtol=1e-6)
    assert fraction == pytest.approx(0.5)


@pytest.mark.parametrize("parts", [((0.1, A),), ((0.1, B),), ((0.1, A), (0.1, B))])
def test_below_the_smallest_dose_the_control_is_the_lower_end(parts):
    model = model_of(FITTED)
    low, high, fraction = ends(model, told(*parts))
    assert low == CONTROL
    np.testing.assert_allclose(high, told(*((0.4, token) for _, token in parts)), rtol=1e-6)
    assert fraction == pytest.approx(0.25)


@pytest.mark.parametrize(
    "condition",
    [
        CONTROL,
        told((0.4, A)),
        told((0.4 + 1e-6, A)),  # the same, after rounding
        told((1.0, B)),  # fitted of another perturbation: the network knows this strength
        told((1.2, A)),  # above the largest
        told((0.2, A), (0.3, B)),  # doses of their own
    ],
)
def test_other_conditions_have_no_ends(condition):
    assert ends(model_of(FITTED), condition) is None


def test_below_the_smallest_dose_without_control_the_network_answers():
    model = model_of(FITTED[1:])
    assert ends(model, told((0.2, A))) is None
    assert ends(model, told((0.7, A))) is not None


def test_new_perturbations_and_covariates_are_their_own():
    """A drug of an embedding, a donor that was not fitted, parts in another order."""
    conditions = [told(*parts, further=(k,)) for k in (0, 1) for parts in ((), ((1.0, A),))]
    model, new = model_of(conditions, n_further=1), (0.5, 0.5)
    low, high, fraction = ends(model, told((0.25, new), further=(0.5,)))
    assert (low, high) == ([*CONTROL, 0.5], told((1.0, new), further=(0.5,)))
    assert fraction == 0.25
    low, high, _ = ends(model_of(FITTED), told((0.7, B), (0.7, A)))
    np.testing.assert_allclose(low, told((0.4, B), (0.4, A)), rtol=1e-6)
    assert high == told((1.0, B), (1.0, A))


def test_a_dose_that_was_fitted_under_other_covariates_is_no_dose_between():
    """Such as of a cell type whose cells at this dose were too few and pooled with others."""
    conditions = [told(*parts, further=(k,)) for k in (0, 1) for parts in ((), ((1.0, A),))]
    model = model_of([*conditions, told((0.4, A), further=(0,))], n_further=1)
    assert ends(model, told((0.4, A), further=(1,))) is None
    assert ends(model, told((0.7, A), further=(1,))) is not None


def test_conditions_that_are_not_between_stay_as_they_are():
    model = model_of(FITTED)
    asked = torch.tensor([told((0.7, A)), told((0.2, A), (0.3, B)), told((1.0, A))])
    found = model.dose_ends(asked)
    assert found.fraction.tolist() == [pytest.approx(0.5), 0, 0]
    for end in (found.low, found.high):
        assert torch.equal(end[1:], asked[1:])


def test_without_doses_or_their_encoder_nothing_is_between():
    assert model_of([told((1.0, A)), told((1.0, B))]).strengths is None
    plain = Genot(DIM, DIM, 6, width=4, depth=1)
    plain.fit_strengths([pair(one) for one in FITTED])
    assert plain.strengths is None


@pytest.mark.parametrize("options", [{}, {"guidance": 2.0}, {"antithetic": True}])
def test_samples_between_doses_are_interpolated_with_the_same_noise(options):
    model = model_of(FITTED, displacement=True, condition_dropout=0.1)
    x = np.random.default_rng(5).normal(size=(N, DIM))

    def drawn(condition, rng=3):
        return model.sample(x, np.array(condition), n_samples=4, rng=rng, **options)

    expected = torch.lerp(drawn(FITTED[1]), drawn(FITTED[2]), 0.25)
    asked = told((0.55, A))
    torch.testing.assert_close(drawn(asked), expected)
    assert not torch.allclose(drawn(FITTED[1]), drawn(FITTED[2]), atol=0.05)
    # a generator gives both ends the same noise, too
    one, other = (drawn(asked, rng=np.random.default_rng(0)) for _ in range(2))
    assert torch.equal(one, other)
    # rows of fitted conditions beside it are what they are alone
    both = np.array([asked, *[FITTED[1]] * (N - 1)])
    torch.testing.assert_close(drawn(both)[1:], drawn(FITTED[1])[1:])
    torch.testing.assert_close(drawn(both)[:1], expected[:1])


@pytest.mark.medium
def test_the_mean_of_a_trained_model_is_the_interpolated_mean():
    """Shifts of 0, 3 and 4 at strengths 0, .4 and 1: at .7 the mean moves by 3.5.

    Training makes an error of the mean at each fitted dose, which is interpolated, too.
    """
    conditions, moves = FITTED[:3], (0.0, 3.0, 4.0)
    pairs = [pair(one, move=move) for one, move in zip(conditions, moves, strict=True)]
    links = [Link(one, plan=sg.ot.Sinkhorn(epsilon=0.05)(one)) for one in pairs]
    run = Run(progress=False, encoder=lambda size: encoder(size - 6))
    learned = FlowMatching(steps=300, displacement=True, width=32, depth=1)(links, run)
    x = pairs[0].source
    means = [
        learned.model.mean(x, np.array(told((strength, A)))).double().numpy()
        for strength in (0.4, 1.0, 0.7, 0.1)
    ]
    np.testing.assert_allclose(means[2], (means[0] + means[1]) / 2, atol=1e-5)
    errors = [
        np.abs((mean - x).mean(0) - move).max()
        for mean, move in zip(means, (3, 4, 3.5), strict=False)
    ]
    assert errors[2] <= (errors[0] + errors[1]) / 2 + 0.3 * 2 * 5 / np.sqrt(N)
    nothing = learned.model.mean(x, np.array(CONTROL)).double().numpy()
    np.testing.assert_allclose(means[3], 0.75 * nothing + 0.25 * means[0], atol=1e-5)


def test_decoded_codes_are_interpolated():
    model = model_of(FITTED)
    rng = np.random.default_rng(0)
    x, code = rng.normal(size=(N, DIM)), rng.normal(size=(N, DIM))
    low, high, between = (
        model.decode(x, code, np.array(one)) for one in (FITTED[1], FITTED[2], told((0.7, A)))
    )
    torch.testing.assert_close(between, (low + high) / 2)


@pytest.mark.parametrize("kind", [Genot, TransportMap])
def test_growth_is_interpolated_on_the_scale_of_its_logarithm(kind):
    model = model_of(FITTED, kind)
    model.add_growth()
    torch.nn.init.normal_(model.eta.linear.weight)
    x = np.random.default_rng(0).normal(size=(N, DIM))
    low, high, between = (
        model.growth(x, np.array(one)) for one in (FITTED[1], FITTED[2], told((0.7, A)))
    )
    torch.testing.assert_close(between, (low * high).sqrt())


def test_a_map_is_interpolated():
    conditions = FITTED[:3]
    pairs = [pair(one, move=2 * one[0]) for one in conditions]
    links = [Link(one, plan=sg.ot.Sinkhorn()(one)) for one in pairs]
    run = Run(progress=False, encoder=lambda size: encoder(size - 6))
    model = MongeMap(steps=5)(links, run).model
    x = pairs[0].source
    low, high, between = (
        model.mean(x, np.array(one)) for one in (conditions[1], conditions[2], told((0.7, A)))
    )
    torch.testing.assert_close(between, (low + high) / 2)
    assert torch.equal(model.sample(x, np.array(told((0.7, A))))[:, 0], between)


def test_far_cells_between_doses_follow_the_linear_models_of_both():
    fitted = [pair(one, seed, move=one[0]) for seed, one in enumerate(FITTED[:3])]
    links = [Link(one, plan=sg.ot.Sinkhorn(epsilon=0.05)(one)) for one in fitted]
    run = Run(progress=False, encoder=lambda size: encoder(size - 6))
    options = {"steps": 5, "displacement": True, "extrapolation": "linear", "width": 8}
    model = FlowMatching(**options)(links, run).model
    far = np.full((5, DIM), 40.0)
    supports = [model.support(far, np.array(one)) for one in (*FITTED[1:3], told((0.7, A)))]
    assert not torch.stack(supports).any()
    low, high, between = (
        model.sample(far, np.array(one), rng=0) for one in (*FITTED[1:3], told((0.7, A)))
    )
    torch.testing.assert_close(between, (low + high) / 2)


@pytest.mark.parametrize("kind", [Genot, TransportMap])
def test_a_file_keeps_the_fitted_doses(kind, tmp_path):
    model = model_of(FITTED, kind)
    model.save(tmp_path / "model.safetensors")
    found = kind.load(tmp_path / "model.safetensors")
    x, asked = np.random.default_rng(0).normal(size=(N, DIM)), np.array(told((0.7, A)))
    assert torch.equal(model.sample(x, asked), found.sample(x, asked))


def test_strengths_that_do_not_increase_are_refused():
    config, arrays = model_of(FITTED).to_arrays()
    with pytest.raises(ModelFileError, match="'strengths' of the model does not increase"):
        Genot.from_arrays(config, arrays | {"strengths": arrays["strengths"][::-1].copy()})


@pytest.mark.parametrize("kind", [Genot, TransportMap])
@pytest.mark.parametrize(
    "damage", [{"strengths": 2}, {"strengths": 1}, {"strengths": "3"}, {"encoder": None}]
)
def test_damaged_doses_are_refused(kind, damage):
    config, arrays = model_of(FITTED, kind).to_arrays()
    with pytest.raises(ModelFileError):
        kind.from_arrays(config | damage, arrays)


def test_a_model_file_without_doses_is_read():
    config, arrays = model_of(FITTED).to_arrays()
    del config["strengths"], arrays["strengths"]
    assert Genot.from_arrays(config, arrays).strengths is None


def test_light_bridges_still_refuse_doses_between():
    links = [Link(pair(one), plan=sg.ot.Sinkhorn()(pair(one))) for one in FITTED[:3]]
    model = LightBridge(n_components=2, steps=5)(links, Run(progress=False)).model
    with pytest.raises(ValueError, match="1 conditions that the bridge was not fitted with"):
        model.sample(links[0].pair.source, np.array(told((0.7, A))))
