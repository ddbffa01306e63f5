"""The learner as an object: options, defaults of a task, plans of any kind, ways to end."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from scgenot._outcome import Outcome
from scgenot.flow import SetEncoder
from scgenot.model import FlowMatching, Genot, Learned, ModelFileError, Run
from scgenot.model.growth import growth_ratios
from scgenot.ot import Sinkhorn
from scgenot.pair import Link, Pair

QUICK = FlowMatching(steps=20, batch_size=32, width=8, depth=1, validation_every=10)


def make_pair(n=60, seed=0, **options):
    rng = np.random.default_rng(seed)
    return Pair(rng.normal(size=(n, 3)), rng.normal(size=(n, 2)), **options)


class OnlyDraws:
    def __init__(self, n, as_numpy=False):
        self.n, self.as_numpy = n, as_numpy

    def sample_pairs(self, n_pairs, *, generator):
        i, j = torch.randint(self.n, (2, n_pairs), generator=generator)
        return (i.cpu().numpy(), j.cpu().numpy()) if self.as_numpy else (i, j)


def learn(learner=QUICK, plan=None, pair=None, **options):
    pair = make_pair() if pair is None else pair
    plan = OnlyDraws(len(pair.source)) if plan is None else plan
    run = Run(**{"progress": False, **options})
    return learner([Link(pair, plan=plan)], run)


@pytest.mark.parametrize("as_numpy", [False, True])
def test_a_plan_that_can_only_be_drawn_from_is_learned(as_numpy):
    learned = learn(plan=OnlyDraws(60, as_numpy))
    assert isinstance(learned, Learned)
    assert list(learned.history) == ["step", "loss", "divergence", "validation"]
    assert learned.history["step"].tolist() == [10, 20]
    assert learned.history["validation"].notna().all()
    assert np.isnan(learned.history["divergence"][0])
    assert np.isfinite(learned.history["divergence"][1])
    assert learned.outcomes == (Outcome.COMPLETED, Outcome.FEW_STEPS)
    assert torch.equal(learned.model.growth(make_pair().source), torch.ones(60))


def test_history_has_a_column_of_validation_without_one():
    learner = FlowMatching(steps=5, width=8, depth=1, validation_fraction=0)
    assert learn(learner).history["validation"].isna().all()


def test_options_of_the_task_fill_what_was_left_out():
    defaults = {"steps": 7, "displacement": True, "source_noise": 0.3, "condition_dropout": 0.2}
    pair = make_pair(condition=np.array([1.0]))
    pair = Pair(pair.source, pair.source[:, :2] + 1, condition=pair.condition)
    learned = learn(FlowMatching(width=8, depth=1), pair=pair, defaults=defaults)
    assert learned.history["step"].iloc[-1] == 7
    assert (learned.model.displacement, learned.model.condition_dropout) == (True, 0.2)
    own = {"condition_dropout": 0.0, "source_noise": 0.1, "validation_fraction": 0.2}
    given = FlowMatching(displacement=False, steps=3, extrapolation="flow", **own)
    assert given.resolved(defaults) == given
    usual = FlowMatching().resolved()
    found = usual.steps, usual.displacement, usual.source_noise, usual.condition_dropout
    assert found == (3000, False, 0.0, 0.0)
    fractions = {"validation_fraction": 0.0}
    assert FlowMatching().resolved(fractions).validation_fraction == 0
    # what is to be held out is
    assert FlowMatching(validation_split="donor").resolved(fractions).validation_fraction == 0.1


def test_the_seed_decides_and_the_generator_of_the_user_stays():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second, other = (learn(seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    x = make_pair().source
    assert torch.equal(first.sample(x), second.sample(x))
    assert not torch.equal(first.sample(x), other.sample(x))


def test_shared_features_are_further_columns_of_the_source():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(60, 4))
    learned = learn(pair=make_pair(source_shared=shared, target_shared=shared))
    assert (learned.model.source_dim, learned.model.target_dim) == (7, 2)


@pytest.mark.medium
def test_growth_of_an_unbalanced_plan_is_learned():
    rng = np.random.default_rng(0)
    pair = Pair(rng.normal(size=(60, 2)), rng.normal(1, 1, size=(60, 2)))
    plan = Sinkhorn(epsilon=0.3, tau=(0.5, 1.0))(pair)
    model = learn(plan=plan, pair=pair).model
    found, expected = model.growth(pair.source).log(), plan.growth().log().float().cpu()
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.95


class WithMarginals(OnlyDraws):
    tau = (0.9, 1.0)

    def __init__(self, a, b):
        super().__init__(len(a))
        self.a, self.b = a, b

    def marginals(self):
        return self.a, self.b


@pytest.mark.medium
def test_cells_without_weight_have_no_part_in_growth():
    weights = np.r_[np.zeros(10), np.ones(50)]
    pair = make_pair(source_weights=weights, target_weights=weights)
    model = learn(plan=WithMarginals(weights / 50, weights / 50), pair=pair).model
    assert all(value.isfinite().all() for value in model.state_dict().values())
    np.testing.assert_allclose(model.target_growth(pair.target)[10:], 1, rtol=0.05)


def test_a_plan_without_tau_is_balanced():
    class Untold(OnlyDraws):
        def marginals(self):
            return np.ones(60) / 30, np.ones(60) / 30

    assert growth_ratios(Untold(60), make_pair(), weights_are_growth=False) is None


def test_the_encoder_is_made_for_the_condition_and_the_column_that_hides_it():
    pair, sizes = make_pair(condition=np.array([1.0, 0.5, 2.0])), []

    def encoder(condition_dim):
        sizes.append(condition_dim)
        return SetEncoder(1, condition_dim - 2, n_further=1, width=4)

    for dropout in (0.0, 0.5):
        learner = replace(QUICK, steps=2, encoder=encoder, condition_dropout=dropout)
        learn(learner, pair=pair)
    assert sizes == [3, 4]


def test_a_plan_that_is_not_finite_is_named():
    bad = np.full(60, np.nan)
    with pytest.raises(ValueError, match="marginals or growth that are not finite"):
        learn(plan=WithMarginals(bad, bad))


class Small(nn.Module):
    def __init__(self, source_dim, target_dim, condition_dim):
        super().__init__()
        self.linear = nn.Linear(source_dim + target_dim + 1, target_dim)

    def forward(self, t, z, source, condition=None):
        return self.linear(torch.cat([t[:, None], z, source], 1))


def test_a_custom_field_says_which_to_pass():
    model = learn(FlowMatching(steps=5, field=Small)).model
    config, arrays = model.to_arrays()
    with pytest.raises(ValueError, match="`field=Small`"):
        Genot.from_arrays(config, arrays)
    x = make_pair().source
    assert torch.equal(Genot.from_arrays(config, arrays, field=Small).sample(x), model.sample(x))
    with pytest.raises(ModelFileError, match="do not match"):
        Genot.from_arrays(config, arrays, field=lambda p, q, c: nn.Identity())


def test_an_interrupted_training_that_is_kept_says_so():
    class Interrupted(OnlyDraws):
        def sample_pairs(self, n_pairs, *, generator):
            self.n_draws = getattr(self, "n_draws", 0) + 1
            if self.n_draws == 2:
                raise KeyboardInterrupt
            return super().sample_pairs(n_pairs, generator=generator)

    learner = FlowMatching(steps=20, width=8, depth=1)
    with pytest.raises(KeyboardInterrupt):
        learn(learner, plan=Interrupted(60))
    with pytest.warns(UserWarning, match="interrupted at step 0 of 20"):
        learned = learn(FlowMatching(steps=20, on_interrupt="keep"), plan=Interrupted(60))
    assert learned.outcomes == (Outcome.INTERRUPTED, Outcome.FEW_STEPS)
    assert list(learned.history) == ["step", "loss", "divergence", "validation"]


def test_extreme_cells_are_named():
    pair = make_pair()
    source = pair.source.copy()
    source[0, 1] = 1e300
    with pytest.raises(ValueError, match="`source` has values above"):
        Pair(source, pair.target)
    source[:, 1] = np.linspace(0, 1e99, len(source))
    with pytest.raises(ValueError, match=r"`source` cells cannot be standardized in columns \[1\]"):
        learn(pair=Pair(source, pair.target))


@pytest.mark.parametrize("name", ["ema_decay", "validation_fraction", "condition_dropout"])
def test_rates_out_of_range_are_refused(name):
    for rate in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"`{name}={rate}`"):
            FlowMatching(**{name: rate})
