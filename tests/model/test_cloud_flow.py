"""Clouds of cells: order and number do not matter, conditions do."""

import numpy as np
import pytest
import torch

from scgenot.flow import SetField
from scgenot.model import CloudFlow, CloudPopulations, ModelFileError, PopulationData, Run
from scgenot.model.cloud_flow import some_rows
from scgenot.model.cloud_matching import matched

TINY = {"width": 16, "depth": 1, "batch_size": 8}


def field() -> SetField:
    torch.manual_seed(0)
    made = SetField(3, 2, width=16, depth=2).double()
    torch.nn.init.normal_(made.leave.weight)
    return made


def inputs(n: int):
    generator = torch.Generator().manual_seed(1)
    options = {"generator": generator, "dtype": torch.double}
    t, given = torch.rand(4, **options), torch.randn(4, 2, **options)
    return t, torch.randn(4, n, 3, **options), given, torch.zeros(4, n, dtype=torch.bool)


def test_permuting_cells_permutes_velocities():
    t, cells, given, padding = inputs(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    found, made = field()(t, cells, given, padding), field()(t, cells[:, order], given, padding)
    torch.testing.assert_close(made, found[:, order], rtol=0, atol=1e-12)


def test_padding_is_not_seen():
    t, cells, given, padding = inputs(20)
    padding[:, 12:] = True
    found = field()(t, cells, given, padding)[:, :12]
    alone = field()(t, cells[:, :12], given, padding[:, :12])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-12)
    cells[:, 12:] = 100.0
    torch.testing.assert_close(field()(t, cells, given, padding)[:, :12], found)


def test_cells_see_each_other():
    t, cells, given, padding = inputs(20)
    moved = cells.clone()
    moved[:, 0] += 1
    assert (field()(t, moved, given, padding) != field()(t, cells, given, padding))[:, 1:].any()


def test_the_assignment_is_optimal():
    rng = np.random.default_rng(0)
    start, end = np.sort(rng.normal(size=(2, 30, 1)), axis=1)
    found = matched(start, end[::-1])
    np.testing.assert_array_equal(found, np.arange(30)[::-1])


def test_rows_are_drawn_evenly():
    drawn = np.bincount(some_rows(7, 24, np.random.default_rng(0)))
    assert set(drawn) == {3, 4}


def clouds_of(shift: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rng.integers(10, 30), 2)) * 0.5 + [s, 0] for s in shift]


@pytest.fixture(scope="module")
def trained():
    given = np.repeat([-1.0, 1.0], 20)[:, None]
    data = PopulationData(clouds_of(2 * given[:, 0]), given, np.arange(40))
    learner = CloudPopulations(steps=300, learning_rate=5e-3, condition_dropout=0.3, **TINY)
    return learner(data, Run(progress=False))


@pytest.mark.medium
def test_clouds_follow_the_condition(trained):
    found = trained.model.clouds(np.repeat([-1.0, 1.0], 20)[:, None], n_cells=25, rng=0)
    assert [cloud.shape for cloud in found] == [(25, 2)] * 40
    means = np.array([cloud.mean(0) for cloud in found])
    for half, x in ((slice(20), -2), (slice(20, None), 2)):
        np.testing.assert_allclose(means[half].mean(0), [x, 0], atol=0.5)


def test_guidance_exaggerates_the_condition(trained):
    given = np.ones((20, 1))
    plain, guided = (
        np.mean([c.mean(0)[0] for c in trained.model.clouds(given, n_cells=25, guidance=g)])
        for g in (1.0, 2.0)
    )
    assert guided > plain


@pytest.mark.medium
def test_a_paired_cloud_is_moved():
    sources, shift = clouds_of(np.zeros(30)), np.array([1.5, 0])
    moved = [cloud + shift for cloud in sources]
    data = PopulationData(moved, np.empty((30, 0)), np.arange(30), sources)
    model = CloudPopulations(steps=200, learning_rate=5e-3, **TINY)(data, Run(progress=False)).model
    new = clouds_of(np.zeros(3), 1)
    found = model.clouds(np.empty((3, 0)), new, n_cells=40)
    found = [made.mean(0) - cloud.mean(0) for made, cloud in zip(found, new, strict=True)]
    np.testing.assert_allclose(np.mean(found, 0), shift, atol=0.3)


def test_seeds_and_files(trained, tmp_path):
    given, model = np.zeros((3, 1)), trained.model
    one, again, other = (model.clouds(given, n_cells=9, rng=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    model.save(tmp_path / "c.safetensors")
    read = CloudFlow.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(read.clouds(given, n_cells=9, rng=1), one)
    config, arrays = model.to_arrays()
    with pytest.raises(ModelFileError):
        CloudFlow.from_arrays({**config, "width": 12}, arrays)


def test_the_best_weights_on_held_out_clouds_are_kept(trained):
    validation = trained.history["validation"]
    assert validation.notna().all()
    assert validation.iloc[-1] < validation.iloc[0] or len(validation) > 1


def test_bad_options():
    with pytest.raises(ValueError, match="must be a multiple of"):
        SetField(3, width=10, n_heads=4)
    with pytest.raises(ValueError, match="`max_cells=1`"):
        CloudPopulations(max_cells=1)
    with pytest.raises(ValueError, match="`condition_dropout=1"):
        CloudPopulations(condition_dropout=1.0)
