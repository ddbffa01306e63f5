"""The flow of Gaussian populations: geometry, laws, bits and files."""

import copy

import numpy as np
import pytest
import torch

from scgenot.model import GaussianPopulations, ModelFileError, PopulationData, PopulationFlow, Run
from scgenot.model.population_training import couple, loss_of, split
from scgenot.population import bures
from scgenot.population.bures import Gaussians
from scgenot.population.gaussian import estimate

D = 3


def law(n: int, seed: int, slope: float = 1.0, n_cells: int = 60) -> tuple[list, np.ndarray]:
    """Populations whose mean and spread depend on a number and on a hidden one."""
    rng = np.random.default_rng(seed)
    given, hidden = rng.normal(size=(2, n))
    clouds = []
    for x, h in zip(given, hidden, strict=True):
        scale = np.array([np.exp(0.3 * h), 1.0, 1.0])
        clouds.append(rng.normal(size=(n_cells, D)) * scale + [slope * x, h, 0.0])
    return clouds, given[:, None]


def learned(clouds, condition, seed=0, **options):
    data = PopulationData(clouds, condition, np.arange(len(clouds)))
    return GaussianPopulations(**options)(data, Run(seed=seed, progress=False))


@pytest.fixture(scope="module")
def trained():
    clouds, given = law(60, 0)
    return learned(clouds, given, steps=200).model


@pytest.mark.medium
def test_the_paths_are_geodesics(trained):
    targets = trained.chart.whiten(estimate(law(20, 1)[0]))
    condition = torch.zeros(20, 1).double()
    paths = couple(trained, targets, condition, torch.Generator().manual_seed(0))[torch.arange(20)]
    ends = Gaussians(paths.noise.mean + paths.shift, None)
    moved = paths.change + torch.eye(D).double()
    ends = Gaussians(ends.mean, moved @ paths.noise.covariance @ moved)
    t = torch.linspace(0, 1, 20).double()
    at, velocity = paths.at(t[:, None])
    expected = bures.geodesic(paths.noise, ends, t)
    torch.testing.assert_close(at.mean, expected.mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(at.covariance, expected.covariance, rtol=0, atol=1e-10)
    found = bures.velocity(paths.noise, ends, t)
    torch.testing.assert_close(velocity.linear, found.linear, rtol=0, atol=1e-9)
    # the couplings of a round are of each population once
    order = (ends.mean[:, None] - targets.mean).abs().sum(-1).argmin(1)
    assert sorted(order.tolist()) == list(range(20))


def test_the_gradient_reaches_every_parameter(trained):
    targets = trained.chart.whiten(estimate(law(20, 1)[0]))
    paths = couple(trained, targets, torch.ones(20, 1).double(), torch.Generator().manual_seed(0))
    model = copy.deepcopy(trained)
    for value in model.field.parameters():  # the last layer is 0 where the law alone is best
        torch.nn.init.normal_(value, std=0.1)
    loss_of(model, paths, torch.full((len(paths), 1), 0.5).double()).mean().backward()
    assert all(value.grad.abs().sum() > 0 for value in model.field.parameters())


@pytest.mark.medium
@pytest.mark.parametrize("steps", [0, 200])
def test_every_covariance_is_positive(steps):
    clouds, given = law(60, 0)
    model = learned(clouds, given, steps=steps).model
    found = model.sample(np.random.default_rng(0).normal(size=(500, 1)) * 3, rng=0)
    assert (torch.linalg.eigvalsh(found.covariance) > 0).all()


def test_positive_with_wild_weights(trained):
    clouds, given = law(60, 0)
    model = learned(clouds, given, steps=1).model
    with torch.no_grad():
        for value in model.field.parameters():
            value.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    found = model.sample(np.zeros((50, 1)), rng=0)
    assert (torch.linalg.eigvalsh(found.covariance) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 400])
def test_laws_of_means_and_covariances(steps):
    """Given x, the mean has the law N((x, 0, 0), diag(0, 1, 0) + S / n): 400 populations learned,
    400 drawn, so that a mean is off by at most 4 sqrt(2 / 400) = .28 standard deviations.
    """
    clouds, given = law(400, 0)
    model = learned(clouds, given, steps=steps).model
    for x in (-1.0, 0.0, 1.5):
        found = model.sample(np.full((400, 1), x), rng=1)
        close, off = 4 * np.sqrt(2 / 400), found.mean.mean(0).cpu().numpy() - [x, 0, 0]
        spread = found.mean.std(0).cpu().numpy()
        assert (np.abs(off) < close * np.array([0.3, 1, 0.3])).all()
        assert abs(spread[1] - 1) < close
        logs = 0.5 * found.covariance.diagonal(dim1=1, dim2=2).log().cpu().numpy()
        assert abs(logs[:, 0].std() - 0.3) < close * 0.3 + 0.05  # sampling of 60 cells: .09
        # means and spreads go together: the correlation of the law is .96
        assert np.corrcoef(logs[:, 0], found.mean[:, 1])[0, 1] > 0.8


def test_expected_populations_are_the_mean_of_the_law(trained):
    one, other = (trained.sample(np.zeros((1, 1)), expected=True, rng=seed) for seed in (0, 1))
    assert torch.equal(one.mean, other.mean)
    drawn = trained.sample(np.zeros((400, 1)), rng=0)
    off = (drawn.mean.mean(0) - one.mean[0]).abs() / drawn.mean.std(0)
    assert off.max() < 0.3


@pytest.mark.medium
def test_seeds_and_files(trained, tmp_path):
    condition = np.linspace(-1, 1, 7)[:, None]
    first = trained.sample(condition, rng=3)
    again = trained.sample(condition, rng=3)
    assert torch.equal(first.mean, again.mean)
    assert not torch.equal(first.mean, trained.sample(condition, rng=4).mean)
    trained.save(tmp_path / "m.safetensors")
    read = PopulationFlow.load(tmp_path / "m.safetensors")
    assert torch.equal(read.sample(condition, rng=3).covariance, first.covariance)
    clouds, given = law(45, 0)
    one, other = (learned(clouds, given, steps=20).model.to_arrays()[1] for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_damaged_models_are_refused(trained):
    config, arrays = trained.to_arrays()
    for wrong in ({**config, "dim": 10**6}, {**config, "dim": "3"}, {}, None):
        with pytest.raises(ModelFileError):
            PopulationFlow.from_arrays(wrong, arrays)
    with pytest.raises(ModelFileError):
        PopulationFlow.from_arrays(config, {**arrays, "intercept": arrays["intercept"][:-1]})


def test_few_populations_have_the_gaussian_law_alone():
    clouds, given = law(8, 0)
    found = learned(clouds, given)
    assert found.model.field is None
    assert len(found.history) == 0


def test_a_paired_population_is_answered_by_the_mean_shift_where_that_is_all():
    """The answer to a shift alone is that shift: errors of 8 pairs are those of its mean."""
    clouds, given = law(8, 0, n_cells=200)
    shift = np.array([0.0, 0.0, 2.0])
    moved = [cloud + shift for cloud in law(8, 0, n_cells=200)[0]]
    data = PopulationData(moved, given[:, :0], np.arange(8), sources=clouds)
    model = GaussianPopulations()(data, Run(progress=False)).model
    found = model.sample(np.zeros((8, 0)), estimate(clouds), expected=True)
    off = found.mean.cpu().numpy() - [cloud.mean(0) for cloud in moved]
    assert np.abs(off).max() < 1e-6


def test_whole_groups_are_held_out():
    groups = np.repeat(np.arange(10), 7)
    kept, out = split(groups, 0.2, torch.Generator().manual_seed(0))
    assert len(out) == 14
    assert not set(groups[kept]) & set(groups[out])
    assert len(split(groups, 0.0, torch.Generator())[1]) == 0
