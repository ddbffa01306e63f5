from dataclasses import replace

import numpy as np
import pytest
import torch

from scgenot._outcome import Outcome
from scgenot.model import FlowMatching, Genot, TrainState, Validation, held_out, train
from scgenot.model.batches import Draws
from scgenot.pair import Link, Pair
from truth.gaussians import ExactCoupling, random_problem
from truth.laws import cbw_uvp, cbw_uvp_floor

# 40 source cells give rounds of 80 steps: three rounds
QUICK = FlowMatching(
    steps=180, batch_size=32, validation_every=45, patience=10, warmup=10, on_interrupt="keep"
)


def gaussian(n=40, dim=3, n_draws=30, seed=0):
    rng = np.random.default_rng(seed)
    problem = random_problem(dim, rng)
    source = problem.sample_source(n, rng)
    coupling = ExactCoupling(problem, source, n_draws, rng)
    return problem, Pair(source, coupling.targets), coupling


def small_model(dim=3, condition_dim=0):
    torch.manual_seed(0)
    return Genot(dim, dim, condition_dim, width=16, depth=1)


def run(learner=QUICK, coupling=None, **kwargs):
    _, pair, exact = gaussian()
    model = small_model()
    return model, train(model, [pair], [coupling or exact], learner, progress=False, **kwargs)


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


class Interrupted:
    """A coupling during whose k-th draw the user presses Ctrl-C."""

    def __init__(self, coupling, k):
        self.coupling, self.left = coupling, k

    def sample_pairs(self, n_pairs, *, generator):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.coupling.sample_pairs(n_pairs, generator=generator)


@pytest.mark.slow
def test_learns_a_gaussian_conditional_law():
    problem, pair, coupling = gaussian(n=2000, dim=5, n_draws=50)
    torch.manual_seed(0)
    model = Genot(5, 5, width=64, depth=2)
    train(model, [pair], [coupling], FlowMatching(steps=600), progress=False)
    rng = np.random.default_rng(1)
    x = problem.sample_source(200, rng)
    excess = cbw_uvp(
        problem, x, model.sample(x, n_samples=300).double().cpu().numpy()
    ) - cbw_uvp_floor(problem, x, 300, rng)
    # the mean alone, by least squares on 2000 cells with a spread of half of Tr B, is off by
    # 200 (d + 1) / 2000 / 2 = .3 points; an untrained model scores above 50
    assert excess < 0.5


@pytest.mark.medium
def test_same_seed_same_bits():
    (first, state), (second, _), (other, _) = run(rng=1), run(rng=1), run(rng=2)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))
    assert state.step == 180
    assert [line["step"] for line in state.history] == [45, 90, 135, 180]
    assert state.losses.isfinite().all()


@pytest.mark.medium
@pytest.mark.parametrize("from_file", [False, True])
def test_going_on_gives_the_bits_of_an_uninterrupted_run(tmp_path, from_file):
    whole, whole_state = run()
    _, _, exact = gaussian()
    # the first draw is for validation, then one a round: two rounds are done
    with pytest.warns(UserWarning, match="interrupted at step 160 of 180"):
        _, state = run(coupling=Interrupted(exact, 4))
    assert (state.step, state.outcome) == (160, Outcome.INTERRUPTED)
    if from_file:
        state.save(tmp_path / "state.safetensors")
        state = TrainState.load(tmp_path / "state.safetensors")
    resumed, state = run(state=state)
    assert torch.equal(weights(resumed), weights(whole))
    assert state.history == whole_state.history
    assert torch.equal(state.losses, whole_state.losses)


def test_interrupted_at_once_leaves_a_working_model():
    _, pair, exact = gaussian()
    with pytest.warns(UserWarning, match="interrupted at step 0 of 180"):
        model, state = run(coupling=Interrupted(exact, 2))
    assert state.step == 0
    assert model.sample(pair.source).isfinite().all()


def test_an_interrupt_is_raised_unless_the_model_is_to_be_kept():
    _, _, exact = gaussian()
    with pytest.raises(KeyboardInterrupt):
        run(FlowMatching(steps=180, batch_size=32), coupling=Interrupted(exact, 4))


@pytest.mark.medium
@pytest.mark.parametrize(("steps", "made"), [(270, 270), (90, 180)])
def test_training_on_for_more_or_fewer_steps(steps, made):
    _, state = run()
    model, state = run(replace(QUICK, steps=steps), state=state)
    assert state.step == made
    assert state.losses[:made].isfinite().all()
    assert weights(model).isfinite().all()


def test_no_validation_keeps_the_average():
    model, state = run(replace(QUICK, validation_fraction=0.0))
    assert not state.best
    assert torch.equal(
        weights(model), torch.cat([value.flatten() for value in state.average.values()])
    )


@pytest.mark.medium
def test_stops_early_and_returns_the_best():
    # weights that hardly move and only decay: the first validation is the best
    learner = replace(QUICK, steps=3000, patience=2, learning_rate=1e-9)
    model, state = run(learner)
    losses = [line["validation"] for line in state.history]
    assert len(losses) - 1 - losses.index(min(losses)) == 2
    assert state.step < 3000
    assert state.outcome is Outcome.STOPPED_EARLY
    assert "divergence" in state.history[-1]
    assert torch.equal(
        weights(model), torch.cat([value.flatten() for value in state.best.values()])
    )
    again, _ = run(learner, state=state)
    assert torch.equal(weights(again), weights(model))


@pytest.mark.medium
def test_mixed_precision_stays_finite_and_near():
    model, state = run(replace(QUICK, precision="bfloat16"))
    _, reference = run()
    assert state.losses.isfinite().all()
    assert weights(model).isfinite().all()
    assert state.losses[-50:].mean() == pytest.approx(
        float(reference.losses[-50:].mean()), rel=0.02
    )


@pytest.mark.medium
def test_conditions_are_learned():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((200, 2))
    problem, _, _ = gaussian(dim=2)
    pairs, couplings = [], []
    for shift, condition in ((-3.0, [0.0, 1.0]), (3.0, [1.0, 0.0])):
        coupling = ExactCoupling(problem, source, 20, rng)
        coupling.targets += np.float32(shift)
        couplings.append(coupling)
        pairs.append(Pair(source, coupling.targets, condition=np.array(condition)))
    model = small_model(2, 2)
    state = train(
        model, pairs, couplings, replace(QUICK, steps=300, batch_size=128), progress=False
    )
    for pair in pairs:
        mean = model.sample(source, pair.condition, n_samples=32).mean((0, 1)).cpu().numpy()
        np.testing.assert_allclose(mean, pair.target.mean(0), atol=0.3)
    assert state.history[-1]["validation"] < 1


def test_every_draw_comes_from_its_pair_and_none_is_held_out():
    shared = np.arange(60.0).reshape(30, 2)
    pairs = [
        Pair(shared, 100.0 + shared),
        Pair(shared, 200.0 + shared),
        Pair(-1 - shared, 300.0 + shared),
    ]

    class Diagonal:
        def sample_pairs(self, n_pairs, *, generator):
            i = torch.randint(30, (n_pairs,), generator=generator)
            return i, i

    masks = held_out([Link(pair) for pair in pairs], 0.2, seed=0)
    draws = Draws(pairs, [Diagonal()] * 3, masks, batch_size=16, seed=0, device=torch.device("cpu"))
    assert len(draws.source) == 60  # the shared population is kept once
    batches = [draws.batch(step) for step in range(2 * draws.steps_per_round)]
    source, target = (torch.cat([batch[side] for batch in batches]) for side in (0, 1))
    number = (target[:, 0] // 100 - 1).long()
    row = (target[:, 0] % 100 / 2).long()
    torch.testing.assert_close(
        source, torch.stack([torch.as_tensor(pair.source) for pair in pairs])[number, row].float()
    )
    for side in (0, 1):
        assert not torch.stack([mask[side] for mask in masks])[number, row].any()
    # both orders of asking give the same
    assert torch.equal(draws.batch(1).source, batches[1].source)


def populations(n, m):
    return Link(Pair(np.zeros((n, 2)), np.zeros((m, 2))))


@pytest.mark.parametrize(
    ("n", "expected"), [(177, 32), (2000, 200), (50_000, 1000), (5, 1), (3, 0)]
)
def test_held_out_stays_sensible(n, expected):
    (masks,), (again,) = (held_out([populations(n, 400)], 0.1, seed=0) for _ in range(2))
    assert [int(mask.sum()) for mask in masks] == [expected, 40]
    assert torch.equal(masks.source, again.source)
    assert torch.equal(masks.target, again.target)


def test_held_out_of_many_pairs():
    masks = held_out([populations(500, 300) for _ in range(300)], 0.1, seed=0)
    assert sum(bool(mask.source.any()) for mask in masks) == 64
    assert all(bool(mask.source.any()) == bool(mask.target.any()) for mask in masks)


def test_what_does_not_fit_is_named():
    _, pair, coupling = gaussian()
    with pytest.raises(ValueError, match="1 pairs and 2 plans"):
        train(small_model(), [pair], [coupling, coupling], QUICK, progress=False)
    with pytest.raises(ValueError, match=r"\(3, 3, 0\), the model was made for \(3, 3, 2\)"):
        train(small_model(condition_dim=2), [pair], [coupling], QUICK, progress=False)
    with pytest.raises(ValueError, match="`precision='float16'` must be one of"):
        FlowMatching(precision="float16")
    with pytest.raises(ValueError, match="`learning_rate=nan` must be above 0"):
        FlowMatching(learning_rate=float("nan"))
    with pytest.raises(TypeError, match=r"`steps=1\.5` must be an integer"):
        FlowMatching(steps=1.5)
    with pytest.raises(FloatingPointError, match="The loss is nan at step 45"):
        run(replace(QUICK, learning_rate=1e38))
    with pytest.raises(FloatingPointError, match="weights of the model are not finite"):
        run(replace(QUICK, learning_rate=1e39, warmup=0, steps=1, validation_fraction=0.0))


class EachToItself:
    def __init__(self, n):
        self.n = n

    def sample_pairs(self, n_pairs, *, generator):
        i = torch.randint(self.n, (n_pairs,), generator=generator)
        return i, i


@pytest.mark.slow
def test_source_noise_shrinks_slopes_as_a_ridge_penalty_does():
    spread = np.array([1.0, 0.2])
    cells = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32) * spread
    learner = replace(
        QUICK, steps=1000, batch_size=256, learning_rate=5e-3, ema_decay=0.99, source_noise=0.5
    )
    model = small_model(2)
    train(model, [Pair(cells, cells)], [EachToItself(500)], learner, progress=False)
    # the network sees x + noise: the best slope of y = x on that is
    # variance / (variance + that of the noise)
    variance = cells.var(0)
    expected = variance / (variance + 0.5**2 * variance.mean())
    mean = model.sample(cells, n_samples=100).mean(1).cpu().numpy()
    slopes = np.linalg.lstsq(cells - cells.mean(0), mean - mean.mean(0), rcond=None)[0]
    # without noise both slopes are 1
    assert np.allclose(slopes, np.diag(expected), atol=0.08)


def test_the_gradient_is_clipped(monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    run(replace(QUICK, steps=5, clip=1e-3))
    assert len(norms) == 5
    assert max(norms) <= 1.001e-3
    run(replace(QUICK, steps=5, clip=1e9))
    assert max(norms[5:]) > 1e-2


@pytest.mark.parametrize("warmup", [0, 2, 4])
def test_weights_decay_as_adamw_says(warmup):
    """With gradients clipped to nothing, a step of rate r multiplies weights by 1 - r * decay."""
    _, pair, exact = gaussian()
    found = []
    for decay in (0.0, 0.5):
        model = small_model()
        start = torch.cat([p.flatten() for p in model.field.parameters()]).detach().clone()
        learner = replace(
            QUICK, steps=2, warmup=warmup, clip=1e-30, weight_decay=decay, learning_rate=0.1
        )
        state = train(model, [pair], [exact], learner, progress=False)
        end = torch.cat(
            [state.weights[f"field.{name}"].flatten() for name, _ in model.field.named_parameters()]
        )
        found.append((start, end))
    (start, kept), (_, decayed) = found
    torch.testing.assert_close(kept, start)
    # half a cosine over two steps: rates .1 and .05, less while it warms up
    first, second = (min(1, step / warmup) if warmup else 1 for step in (1, 2))
    torch.testing.assert_close(decayed, start * (1 - first * 0.1 * 0.5) * (1 - second * 0.05 * 0.5))


def test_the_best_of_all_validations_is_kept(monkeypatch):
    scores, weights_then = iter([5.0, 1.0, 3.0, 2.0]), []

    def scored(self, model):
        weights_then.append(weights(model).clone())
        return next(scores)

    monkeypatch.setattr(Validation, "loss", scored)
    model, _ = run(replace(QUICK, steps=8, validation_every=2))
    assert len(weights_then) == 4
    assert torch.equal(weights(model), weights_then[1])


class Wrong:
    def __init__(self, indices):
        self.indices = indices

    def sample_pairs(self, n_pairs, *, generator):
        return self.indices(n_pairs), self.indices(n_pairs)


@pytest.mark.parametrize(
    "indices",
    [
        lambda n: torch.zeros(n),
        lambda n: torch.zeros(n + 1, dtype=torch.long),
        lambda n: torch.full((n,), 40),
        lambda n: np.full(n, -1),
    ],
)
def test_a_plan_that_returns_no_indices_is_named(indices):
    with pytest.raises(ValueError, match=r"`Wrong.sample_pairs\(\d+, generator=...\)` must return"):
        run(coupling=Wrong(indices))


def test_a_state_of_another_model_is_refused():
    _, state = run(replace(QUICK, steps=2))
    _, pair, exact = gaussian()
    other = Genot(3, 3, width=8, depth=1)
    with pytest.raises(ValueError, match="the state"):
        train(other, [pair], [exact], QUICK, state=state, progress=False)
