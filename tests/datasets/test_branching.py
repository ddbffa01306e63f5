"""Branching: the cells follow the stated law, and the law is what couplings are asked to find."""

import numpy as np
import pytest
from anndata import read_h5ad
from scipy.special import expit
from scipy.stats import kstest, norm, spearmanr

from scgenot.datasets import branching
from scgenot.ot import Sinkhorn
from scgenot.pair import Pair

TIMES = (0, 0.5, 2)
GROWTH = (1.4, -0.4)
# of axis 2, to be compared with what the docstring says
DRIFT, STEEPNESS, START = 2.0, 4.0, 0.6


def populations(times, grid):
    """Density on a grid of the commitment (axis 2), reweighted by growth, then moved."""
    density = norm.pdf(grid, scale=START)
    bound = expit(STEEPNESS * grid)
    rate = bound * GROWTH[0] + (1 - bound) * GROWTH[1]
    yield density / density.sum()
    for dt in np.diff(times):
        step = [
            norm.pdf(grid[:, None], grid[None] + sign * DRIFT * dt, np.sqrt(dt)) for sign in (1, -1)
        ]
        density = (step[0] * bound + step[1] * (1 - bound)) @ (density * np.exp(rate * dt))
        yield density / density.sum()


def test_snapshots_have_the_density_of_the_living():
    adata = branching(3000, times=TIMES, growth=GROWTH)
    grid = np.linspace(-14, 14, 1401)
    for time, density in zip(TIMES, populations(TIMES, grid), strict=True):
        cells = adata[adata.obs["time"] == time].obsm["X_latent"]
        cumulative = np.cumsum(density) - density / 2
        # 1e-3 of samples from the law do worse; axis 1 does not know of growth
        assert kstest(cells[:, 1], lambda x, law=cumulative: np.interp(x, grid, law)).pvalue > 1e-3
        assert kstest(cells[:, 0], norm(time, np.sqrt(START**2 + time)).cdf).pvalue > 1e-3


def test_fates_are_those_of_lineages_followed_in_small_steps():
    """The same motion as a diffusion of drift `2 tanh(2 x2)`; the simulation jumps exactly."""
    adata = branching(1000, times=TIMES, growth=GROWTH)
    rng = np.random.default_rng(1)
    for time in TIMES[:-1]:
        cells = adata[adata.obs["time"] == time]
        x = np.tile(cells.obsm["X_latent"][:, 1], 4)
        n_steps = 200
        dt = (TIMES[-1] - time) / n_steps
        for _ in range(n_steps):
            x = x + DRIFT * np.tanh(DRIFT * x) * dt + np.sqrt(dt) * rng.normal(size=len(x))
        fate = np.tile(cells.obs["fate_A"], 4)
        # lineages whose fate is open, those nearly bound for A, and those nearly bound for B; four
        # standard errors
        for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1)):
            group = (low <= fate) & (fate <= high)
            error = np.sqrt((fate * (1 - fate))[group].sum()) / group.sum()
            assert abs((x > 0)[group].mean() - fate[group].mean()) < 4 * error


def test_fates_are_open_first_and_settled_last():
    adata = branching(400)
    first, last = (adata[adata.obs["time"] == time] for time in (0, 2))
    assert (first.obs["branch"] == "progenitor").mean() > 0.6
    assert set(last.obs["branch"]) == {"A", "B"}
    np.testing.assert_array_equal(last.obs["fate_A"], last.obsm["X_latent"][:, 1] > 0)
    np.testing.assert_allclose(adata.obs["fate_A"] + adata.obs["fate_B"], 1)


def test_growth_is_that_of_the_step():
    adata = branching(50, times=TIMES, growth=GROWTH)
    bound = expit(STEEPNESS * adata.obsm["X_latent"][:, 1])
    np.testing.assert_allclose(
        adata.obs["growth_rate"], bound * GROWTH[0] + (1 - bound) * GROWTH[1]
    )
    step = adata.obs["time"].map({0: 0.5, 0.5: 1.5, 2: 1.5}).to_numpy()
    np.testing.assert_allclose(adata.obs["growth"], np.exp(adata.obs["growth_rate"] * step))


def test_the_observation_is_a_rotation():
    adata = branching(60, noise=0.0)
    distances = [
        np.linalg.norm(x[:, None] - x[None], axis=2)
        for x in (adata.obsm["X_latent"], adata.obsm["X_pca"], adata.X)
    ]
    np.testing.assert_allclose(distances[1], distances[0], atol=1e-5)
    np.testing.assert_array_equal(distances[2], distances[1])


def steps(adata):
    """Source cells, target cells and epsilon of each step, from the last to the first."""
    times = np.unique(adata.obs["time"])
    for i in reversed(range(len(times) - 1)):
        source, target = (adata[adata.obs["time"] == time] for time in times[i : i + 2])
        yield source, target, adata.uns["truth"]["epsilon"][i]


def coupled_fates(adata, use_rep, *, grows):
    """Mean absolute error of the fates of all but the last cells, from chained couplings."""
    fate, errors = None, []
    for source, target, epsilon in steps(adata):
        fate = (target.obs["branch"] == "A").to_numpy(dtype=np.float32) if fate is None else fate
        pair = Pair(
            source.obsm[use_rep],
            target.obsm[use_rep],
            source_weights=source.obs["growth"] if grows else None,
        )
        fate = Sinkhorn(epsilon, relative=False)(pair).rows().cpu().numpy() @ fate
        errors.append(np.abs(fate - source.obs["fate_A"]).mean())
    return np.array(errors)


@pytest.mark.medium
@pytest.mark.parametrize(("use_rep", "tolerance"), [("X_latent", 0.04), ("X_pca", 0.05)])
def test_growth_as_weights_gives_the_fates_and_equal_weights_do_not(use_rep, tolerance):
    """The entropic coupling is the truth but for sampling and, in the observation, noise.

    Over seeds the mean error of 1500 cells is up to .03 (latent) and .035 (observed): the share of
    cells bound for A is known to .01. Equal weights send progenitors to A as often as A is seen at
    the last time, 93 % against 50 %.
    """
    adata = branching(1500)
    last = adata[adata.obs["time"] == 2].obs["fate_A"].mean()
    first = adata[adata.obs["time"] == 0].obs["fate_A"].mean()
    errors, biased = (coupled_fates(adata, use_rep, grows=grows) for grows in (True, False))
    assert errors.max() < tolerance
    assert biased[1] > 0.95 * (last - first) > 0.35
    assert (biased > 6 * errors).all()


def test_an_unbalanced_coupling_ranks_and_scales_growth():
    """Cells that took a side tell their growth by what is near their descendants alone.

    Over seeds at tau .8: Spearman .88 to .91, slope .78 to .90; equal growth has 0 for both. The
    slope stays under 1 for tau pulls growth towards 1, and is lost as tau tends to 1.
    """
    adata = branching(1500)
    source, target, _ = next(steps(adata))
    pair = Pair(source.obsm["X_pca"], target.obsm["X_pca"])
    truth = np.log(source.obs["growth"] / source.obs["growth"].mean())
    slopes = []
    for tau in (0.8, 0.95, 0.99):
        found = np.log(Sinkhorn(0.05, tau=(tau, 1.0))(pair).growth().cpu().numpy())
        slopes.append(np.polyfit(truth, found, 1)[0])
        assert spearmanr(truth, found)[0] > 0.84
    assert 0.7 < slopes[0] < 1
    assert slopes[0] > slopes[1] > slopes[2]
    assert slopes[2] < 0.2


def test_same_seed_same_cells_and_files_keep_them(tmp_path):
    first, again, other = (branching(40, rng=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)
    first.write_h5ad(tmp_path / "cells.h5ad")
    read = read_h5ad(tmp_path / "cells.h5ad")
    assert read.obs["branch"].equals(first.obs["branch"])
    np.testing.assert_array_equal(read.uns["truth"]["epsilon"], [2, 2])


@pytest.mark.parametrize("times", [(0,), (0, 0, 1), (1, 0), ((0, 1), (2, 3))])
def test_times_must_increase(times):
    with pytest.raises(ValueError, match=r"`times=.*increasing"):
        branching(10, times=times)
