"""Twins: the pairing is right, and only the pairing is lost."""

import numpy as np

from scgenot.datasets import twins
from scgenot.metrics import foscttm


def test_partners_are_the_same_cells():
    source, target = twins(200, noise=0.0)
    partners = target[source.obs["partner"]]
    assert (partners.obs["cell_type"].to_numpy() == source.obs["cell_type"].to_numpy()).all()
    # rotations keep distances: without noise those within each instrument are the same
    distances = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (source.X, partners.X)]
    np.testing.assert_allclose(*distances, atol=1e-4)
    linear = np.linalg.lstsq(source.X, partners.X, rcond=None)[0]
    assert foscttm(source.X @ linear, partners.X) < 0.001
    assert (source.obs["partner"].to_numpy() != target.obs_names.to_numpy()).any()


def test_same_seed_same_cells():
    first, again, other = (twins(50, rng=seed)[0].X for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
