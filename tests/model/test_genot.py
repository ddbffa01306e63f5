"""The model against the closed form: with the best field there is, everything is known exactly."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest

from scgenot.flow import ODE, SDE, VelocityField
from scgenot.model import Genot
from scgenot.model.generate import dropped
from scgenot.pair import Pair
from truth.gaussians import OptimalField, optimal_field, random_problem

DIM = 4


@pytest.fixture
def problem():
    return random_problem(DIM, np.random.default_rng(0))


@pytest.fixture
def cells(problem):
    rng = np.random.default_rng(1)
    x = problem.sample_source(50_000, rng)
    return x, problem.sample_conditional(x, 1, rng)[:, 0]


@pytest.fixture
def best(problem, cells):
    """Genot in float64 whose field is the best one, in the units that it standardises to."""
    model = Genot(DIM, DIM, field=lambda p, q, c: torch.nn.Identity()).double()
    model.units.fit([Pair(*cells)])
    units = model.units.source, model.units.target
    model.field = optimal_field(
        problem, *(getattr(unit, name).cpu().numpy() for unit in units for name in ("mean", "std"))
    )
    return model


class Perturbed(torch.nn.Module):
    """A field plus a linear one."""

    def __init__(self, field, direction: torch.Tensor, scale: float):
        super().__init__()
        self.field, self.direction, self.scale = field, direction, scale

    def shift(self, t, z, source):
        return self.scale * torch.cat([z, source, t[:, None]], 1) @ self.direction

    def forward(self, t, z, source, condition=None):
        return self.field(t, z, source) + self.shift(t, z, source)


class TargetMinusSource(OptimalField):
    """Where training ends when the path's start is taken for the source cell."""

    def forward(self, t, z, source, condition=None):
        velocity = super().forward(t, z, source)
        noise = z - t[:, None] * velocity  # E[z_0 | z_t]
        return velocity + noise - source


def loss_of(model, cells, field=None, seed=0):
    kept, model.field = model.field, field or model.field
    x, y = (torch.as_tensor(side) for side in cells)
    loss = model.loss(x, y, generator=torch.Generator().manual_seed(seed))
    model.field = kept
    return float(loss)


def test_no_field_is_better_than_the_best(best, cells):
    """The loss of v* + w exceeds that of v* by E|w|^2: v* is the mean of the regression target."""
    reference = loss_of(best, cells)
    for k in range(8):
        direction = torch.randn(
            2 * DIM + 1, DIM, generator=torch.Generator().manual_seed(k), dtype=torch.float64
        )
        for scale in (0.03, 0.3):
            excess = loss_of(best, cells, Perturbed(best.field, direction, scale)) - reference
            # E|w|^2 per dimension, inputs of variance about 1; the cross term 2 w.(v* - u)
            # averages out over the cells
            size = scale**2 * float(direction.square().sum()) / DIM
            assert excess > 0
            assert 0.3 * size < excess < 2.5 * size


def test_target_minus_source_is_seen(best, cells):
    wrong = TargetMinusSource.__new__(TargetMinusSource)
    wrong.__dict__ = best.field.__dict__
    assert loss_of(best, cells, wrong) > loss_of(best, cells) + 0.5


def test_loss_of_the_best_field_is_the_variance_that_remains(best, cells):
    """Var(y - z | z_t, x) = S ((1 - t)^2 I + t^2 S)^-1, integrated over t."""
    t = (torch.arange(2000) + 0.5)[:, None] / 2000
    remaining = (best.field.values / ((1 - t) ** 2 + t**2 * best.field.values)).mean()
    # squared errors of one cell vary by a few times their mean, 50,000 cells
    assert loss_of(best, cells) == pytest.approx(float(remaining), rel=0.03)


def test_samples_are_the_exact_map_of_their_noise(best, problem):
    """The flow of the best field carries z to m(x) + S^.5 z (S in standard units)."""
    x = problem.sample_source(5, np.random.default_rng(2))
    found = best.sample(x, n_samples=200, rng=3, integrator=ODE("rk4", steps=200))
    noise = torch.randn(
        5, 200, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    field, std = best.field, best.units.target.std
    spread = noise @ (field.vectors * field.values.sqrt()) @ field.vectors.T * std
    torch.testing.assert_close(
        found, torch.as_tensor(problem.mean(x))[:, None] + spread, rtol=0, atol=1e-6
    )


def test_samples_have_the_true_moments(best, problem):
    x, n = problem.sample_source(3, np.random.default_rng(2)), 20_000
    samples = best.sample(x, n_samples=n, rng=0).cpu().numpy()
    for mean, draws in zip(problem.mean(x), samples, strict=True):
        np.testing.assert_allclose(draws.mean(0), mean, atol=5 * (problem.S.max() / n) ** 0.5)
        # 16 midpoint steps add about a hundredth to the error of sampling
        np.testing.assert_allclose(
            np.cov(draws.T), problem.S, atol=5 * problem.S.max() * (2 / n) ** 0.5 + 0.01
        )


def test_log_prob_is_the_closed_form(best, problem, cells):
    x, y = cells[0][:40], cells[1][:40]
    found = best.log_prob(x, y, integrator=ODE("rk4", steps=100))
    np.testing.assert_allclose(found.cpu().numpy(), problem.log_prob(x, y), atol=1e-5)


def test_estimated_log_prob_is_unbiased(best, problem, cells):
    x, y = np.repeat(cells[0][:1], 500, 0), np.repeat(cells[1][:1], 500, 0)
    found = best.log_prob(x, y, exact=False, rng=0, integrator=ODE("rk4", steps=20)).cpu().numpy()
    # a Gaussian field has a divergence that does not depend on the path
    assert abs(found.mean() - problem.log_prob(x[:1], y[:1])[0]) < 5 * found.std() / 500**0.5 + 1e-3


def trained_like(condition_dim=0, **kwargs):
    torch.manual_seed(0)
    model = Genot(3, 2, condition_dim, width=16, depth=2, **kwargs)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    rng = np.random.default_rng(0)
    condition = rng.standard_normal(condition_dim) if condition_dim else None
    pair = Pair(rng.normal(3, 2, (40, 3)), rng.normal(-1, 5, (50, 2)), condition=condition)
    model.units.fit([pair], rng.normal(1, 3, (30, 2)))
    return model, rng.normal(3, 2, (20, 3)), condition


@pytest.mark.medium
@pytest.mark.parametrize("condition_dim", [0, 2])
@pytest.mark.parametrize("growth", [False, True])
@pytest.mark.parametrize("options", [{}, {"displacement": True, "condition_dropout": 0.2}])
def test_file_and_arrays_give_the_same_bits(tmp_path, condition_dim, growth, options):
    model, x, condition = trained_like(condition_dim, **options)
    if growth:
        model.add_growth()
        model.eta.linear.bias.data += 0.5
    model.save(tmp_path / "model.safetensors")
    config, arrays = model.to_arrays()
    assert all("/" not in name and isinstance(array, np.ndarray) for name, array in arrays.items())
    config = json.loads(json.dumps(config))
    for copy in (Genot.load(tmp_path / "model.safetensors"), Genot.from_arrays(config, arrays)):
        assert torch.equal(
            copy.sample(x, condition, n_samples=3), model.sample(x, condition, n_samples=3)
        )
        assert torch.equal(copy.growth(x, condition), model.growth(x, condition))


def test_a_field_of_ones_own_is_asked_for_when_loading(tmp_path):
    def factory(source_dim, target_dim, condition_dim):
        return VelocityField(source_dim, target_dim, condition_dim, width=8, depth=1)

    model, x, _ = trained_like(field=factory)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="pass the same class or function as `field`"):
        Genot.load(tmp_path / "model.safetensors")
    assert torch.equal(
        Genot.load(tmp_path / "model.safetensors", field=factory).sample(x), model.sample(x)
    )
    usual, _, _ = trained_like()
    with pytest.raises(ValueError, match="omit `field`"):
        Genot.from_arrays(*usual.to_arrays(), field=factory)


@pytest.mark.parametrize("training", [True, False])
def test_sampling_leaves_the_mode_of_the_model(training):
    model, x, condition = trained_like(2)
    model.train(training)
    model.sample(x, condition)
    assert all(module.training is training for module in model.modules())


def test_sampling_repeats_and_batches_do_not_matter():
    model, x, condition = trained_like(2)
    samples = model.sample(x, condition, n_samples=4, rng=7)
    assert samples.shape == (20, 4, 2)
    assert torch.equal(samples, model.sample(x, condition, n_samples=4, rng=7))
    assert not torch.equal(samples, model.sample(x, condition, n_samples=4, rng=8))
    torch.testing.assert_close(
        samples, model.sample(x, condition, n_samples=4, rng=7, batch_size=9)
    )
    per_cell = np.broadcast_to(condition, (20, 2))
    assert torch.equal(samples, model.sample(x, per_cell, n_samples=4, rng=7))


def test_a_constant_column_does_no_harm():
    rng = np.random.default_rng(0)
    target = np.column_stack([rng.standard_normal(30), np.full(30, 7.3)])
    model = Genot(2, 2)
    model.units.fit([Pair(np.column_stack([np.zeros(30), np.arange(30.0)]), target)])
    assert torch.equal(model.units.target.std[1], torch.tensor(1.0))
    assert torch.equal(model.units.source.std[0], torch.tensor(1.0))
    torch.testing.assert_close(
        model.units.target.undo(model.units.target(target)), torch.as_tensor(target).float()
    )


def test_standardiser_is_that_of_all_cells_of_all_pairs():
    rng = np.random.default_rng(0)
    blocks = [rng.normal(k, 1 + k, (20 + k, 3)) for k in range(3)]
    model = Genot(3, 3)
    model.units.fit([Pair(block, block) for block in blocks])
    together = np.concatenate(blocks)
    np.testing.assert_allclose(model.units.source.mean, together.mean(0), rtol=1e-5)
    np.testing.assert_allclose(model.units.source.std, together.std(0), rtol=1e-5)


def test_wrong_shapes_are_named():
    model, x, condition = trained_like(2)
    with pytest.raises(ValueError, match=r"`source` has shape \(20, 2\), expected \(n, 3\)"):
        model.sample(x[:, :2], condition)
    with pytest.raises(
        ValueError, match=r"`condition` has shape None, the model was made for \(20, 2\) or \(2,\)"
    ):
        model.sample(x)


def test_displacements_are_measured_from_the_source_cell():
    """With zero velocity a draw is the source cell plus the mean displacement and its spread."""
    model = Genot(3, 2, field=lambda p, q, c: Still(), displacement=True)
    rng = np.random.default_rng(0)
    moves = rng.normal([1, -2], [3, 0.5], (200, 2))
    model.units.fit([Pair(rng.normal(size=(9, 3)), rng.normal(size=(8, 2)))], moves)
    x = rng.normal(50, 1, (4, 3)).astype("float32")
    noise = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(5))
    expected = torch.tensor(
        x[:, None, :2] + moves.mean(0) + noise.cpu().numpy() * moves.std(0)
    ).float()
    found = model.sample(x, n_samples=6, rng=5)
    torch.testing.assert_close(found, expected)
    law = torch.distributions.Normal(
        torch.tensor(x[:, :2] + moves.mean(0)), torch.tensor(moves.std(0))
    )
    torch.testing.assert_close(
        model.log_prob(x, found[:, 0]), law.log_prob(found[:, 0]).sum(1).float()
    )


class Still(torch.nn.Module):
    """No velocity; with conditions, the sum of their known columns, or ten where hidden."""

    def forward(self, t, z, source, condition=None):
        if condition is None:
            return torch.zeros_like(z) + 0 * z
        *known, hidden = condition.unbind(1)
        return torch.zeros_like(z) + (sum(known) + 10 * hidden)[:, None]


def test_displacements_need_one_space():
    with pytest.raises(ValueError, match="displacement"):
        Genot(2, 3, displacement=True)


def test_guidance_weighs_the_condition():
    model = Genot(2, 2, 1, field=lambda p, q, c: Still(), condition_dropout=0.1)
    x, condition = np.zeros((3, 2)), np.array([4.0])
    noise = torch.randn(3, 1, 2, generator=torch.Generator().manual_seed(0))
    for guidance, moved in ((1, 4), (0, 10), (2, -2)):
        torch.testing.assert_close(model.sample(x, condition, guidance=guidance), noise + moved)
    with pytest.raises(ValueError, match="condition_dropout"):
        Genot(2, 2, 1).sample(x, condition, guidance=2)


@pytest.mark.parametrize("rate", [-0.1, 1, float("nan")])
def test_a_rate_of_hidden_conditions_is_below_1(rate):
    with pytest.raises(ValueError, match=r"`condition_dropout=.*at least 0 and below 1"):
        Genot(2, 2, 1, condition_dropout=rate)


def test_conditions_are_hidden_while_training_only():
    model = Genot(2, 2, 1, field=lambda p, q, c: Still(), condition_dropout=0.25)
    given = torch.full((4000, 1), 4.0)
    generator = torch.Generator().manual_seed(0)
    seen = dropped(model.train(), given, generator=generator)
    hidden = seen[:, 1] == 1
    assert (seen[hidden, 0] == 0).all()
    assert (seen[~hidden, 0] == 4).all()
    assert abs(hidden.float().mean() - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
    assert not dropped(model.eval(), given, generator=generator)[:, 1].any()


@pytest.mark.medium
def test_noise_on_the_way_keeps_the_law(best, problem):
    x, n = problem.sample_source(1, np.random.default_rng(2)), 40_000
    draws = best.sample(x, n_samples=n, rng=0, integrator=SDE(noise=1.0, steps=30))[0].cpu().numpy()
    np.testing.assert_allclose(
        draws.mean(0), problem.mean(x)[0], atol=5 * (problem.S.max() / n) ** 0.5
    )
    error = 5 * problem.S.max() * (2 / n) ** 0.5 + 3e-3  # steps of second order
    np.testing.assert_allclose(np.cov(draws.T), problem.S, atol=error)


def test_what_needs_an_ode_says_so(best, cells):
    x, y = cells[0][:4], cells[1][:4]
    with pytest.raises(TypeError, match=r"`integrator=SDE\(.*densities need an ODE"):
        best.log_prob(x, y, integrator=SDE())
    with pytest.raises(TypeError, match="guided draws need an ODE"):
        best.sample(x, guidance=2.0, integrator=SDE())
    with pytest.raises(TypeError, match="`integrator='midpoint'` must be an ODE or a SDE or"):
        best.sample(x, integrator="midpoint")


def test_codes_are_the_noise_of_cells(best, problem, cells):
    """z = S^-.5 (y - m(x)), in standard units; its squared length is chi-square."""
    x, y = cells[0][:2000], cells[1][:2000]
    code = best.encode(x, y, integrator=ODE("rk4", steps=100))
    field, std = best.field, best.units.target.std
    off = (torch.as_tensor(y - problem.mean(x)) / std) @ field.vectors / field.values.sqrt()
    torch.testing.assert_close(code, off @ field.vectors.T, rtol=0, atol=1e-5)
    assert kstest(code.square().sum(1).cpu().numpy(), chi2(DIM).cdf).pvalue > 1e-3
    again = best.decode(x, best.encode(x, y))
    torch.testing.assert_close(again, torch.as_tensor(y), rtol=0, atol=1e-4)


def test_a_code_that_does_not_fit(best, cells):
    x, y = cells[0][:4], cells[1][:4]
    with pytest.raises(TypeError, match="codes need an ODE"):
        best.encode(x, y, integrator=SDE())
    with pytest.raises(ValueError, match="`target` has 3 rows, `source` 4"):
        best.encode(x, y[:3])
    with pytest.raises(ValueError, match="`code` has shape"):
        best.decode(x, y[:, :2])


def test_answers_keep_no_graph():
    """A graph of all draws of 10,000 cells takes 20 GB."""
    model, cells = Genot(2, 2, width=8, depth=1), torch.zeros(3, 2)
    answers = model.sample(cells), model.mean(cells), model.log_prob(cells, cells)
    assert not any(answer.requires_grad for answer in answers)


def test_antithetic_samples_have_the_exact_mean_of_a_gaussian(best, problem, cells):
    """The flow is linear in the noise, which cancels in the mean; each draw is of the law."""
    x, accurate = cells[0][:500], {"antithetic": True, "integrator": ODE("rk4", steps=40)}
    mean = problem.mean(x)
    draws = best.sample(x, n_samples=6, **accurate).numpy() - mean[:, None]
    np.testing.assert_allclose(draws[:, :3], -draws[:, 3:], atol=1e-5)
    # of an odd number the draw in the middle has no partner
    draws = best.sample(x, n_samples=5, **accurate).numpy() - mean[:, None]
    np.testing.assert_allclose(draws[:, :2], -draws[:, 3:], atol=1e-5)
    error = np.sqrt((problem.S**2 + np.outer(*[np.diag(problem.S)] * 2)) / len(x))
    for left in (draws[:, 2], draws[:, 4]):
        assert (np.abs(left.T @ left / len(x) - problem.S) < 5 * error).all()
    # two draws of six midpoint steps
    np.testing.assert_allclose(best.mean(x, n_samples=2), mean, atol=0.01)
