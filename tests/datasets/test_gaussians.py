"""Gaussians: the law is that of the closed form, and of an entropic coupling."""

import numpy as np
import pytest
import torch
from anndata import read_h5ad

import scgenot as sg
from scgenot.pair import Pair
from truth.gaussians import GaussianProblem


@pytest.fixture(params=[(1, 0.5), (2, 0.5), (2, 8.0), (6, 0.05)], ids=str)
def adata(request):
    dim, epsilon = request.param
    return sg.datasets.gaussians(2000, dim=dim, epsilon=epsilon, rng=3)


def problem_of(truth: dict) -> GaussianProblem:
    names = "source_mean", "source_covariance", "target_mean", "target_covariance", "epsilon"
    return GaussianProblem(*(truth[name] for name in names))


def test_conditional_law_is_the_closed_form(adata):
    truth, problem = adata.uns["truth"], problem_of(adata.uns["truth"])
    np.testing.assert_allclose(truth["slope"], problem.slope, atol=1e-10)
    np.testing.assert_allclose(truth["covariance"], problem.S, atol=1e-10)
    np.testing.assert_allclose(
        truth["intercept"], problem.mean(np.zeros((1, problem.dim)))[0], atol=1e-10
    )
    source = (adata.obs["time"] == 0).to_numpy()
    # X is in single precision
    expected = problem.mean(adata.X[source].astype(float))
    np.testing.assert_allclose(adata.obsm["X_conditional_mean"][source], expected, atol=1e-5)
    assert np.isnan(adata.obsm["X_conditional_mean"][~source]).all()


def test_joint_law_is_an_entropic_coupling(adata):
    """It alone has both marginals and a density exp(u(x) + v(y) + 2 x.y / epsilon)."""
    truth = adata.uns["truth"]
    slope, A, B = truth["slope"], truth["source_covariance"], truth["target_covariance"]
    np.testing.assert_allclose(slope @ A @ slope.T + truth["covariance"], B, atol=1e-10)
    np.testing.assert_allclose(
        truth["intercept"] + slope @ truth["source_mean"], truth["target_mean"], atol=1e-10
    )
    precision = np.linalg.inv(np.block([[A, A @ slope.T], [slope @ A, B]]))
    dim = len(A)
    np.testing.assert_allclose(
        precision[:dim, dim:], -2 / truth["epsilon"] * np.eye(dim), atol=1e-6
    )


def test_cells_have_the_moments(adata):
    truth = adata.uns["truth"]
    assert (adata.obs["population"] == np.where(adata.obs["time"] == 0, "source", "target")).all()
    for time, side in enumerate(("source", "target")):
        x = adata.X[adata.obs["time"] == time]
        covariance = truth[f"{side}_covariance"]
        widest = np.linalg.eigvalsh(covariance)[-1]
        # standard errors are at most (widest / n)^.5 of a mean, widest (2 / n)^.5 of a covariance
        np.testing.assert_allclose(
            x.mean(0), truth[f"{side}_mean"], atol=6 * (widest / len(x)) ** 0.5
        )
        np.testing.assert_allclose(
            np.atleast_2d(np.cov(x.T)), covariance, atol=6 * widest * (2 / len(x)) ** 0.5
        )


def test_coupling_of_the_cells_tends_to_the_law():
    adata = sg.datasets.gaussians(1500)
    source = (adata.obs["time"] == 0).to_numpy()
    solver = sg.ot.Sinkhorn(
        epsilon=adata.uns["truth"]["epsilon"], relative=False, dtype=torch.float64
    )
    coupling = solver(Pair(adata.X[source].astype(float), adata.X[~source].astype(float)))
    error = (
        ((coupling.barycenter().cpu().numpy() - adata.obsm["X_conditional_mean"][source]) ** 2)
        .sum(1)
        .mean()
    )
    # variance of a mean over the effective targets of a cell, of the mean of the target, and of
    # what that of the source is moved by; all of it is 1 % of what the conditional means vary
    truth, n = adata.uns["truth"], 1500
    own = np.trace(truth["covariance"]) * (1 / coupling.effective_targets().cpu().numpy()).mean()
    moved = np.trace(truth["slope"] @ truth["source_covariance"] @ truth["slope"].T) / n
    assert error < 4 * (own + np.trace(truth["target_covariance"]) / n + moved)


def test_law_does_not_depend_on_the_number_of_cells():
    few, many, other = (
        sg.datasets.gaussians(n, rng=seed) for n, seed in ((5, 0), (50, 0), (50, 1))
    )
    for name, value in few.uns["truth"].items():
        assert np.array_equal(value, many.uns["truth"][name])
    assert not np.allclose(few.uns["truth"]["slope"], other.uns["truth"]["slope"])
    assert np.array_equal(few.X, sg.datasets.gaussians(5).X)


def test_survives_writing(tmp_path):
    adata = sg.datasets.gaussians(5)
    adata.write_h5ad(tmp_path / "gaussians.h5ad")
    read = read_h5ad(tmp_path / "gaussians.h5ad")
    assert np.array_equal(read.uns["truth"]["slope"], adata.uns["truth"]["slope"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_cells": 1}, "`n_cells=1`"),
        ({"dim": 0}, "`dim=0`"),
        ({"epsilon": 0.0}, "`epsilon=0.0`"),
        ({"epsilon": np.nan}, "`epsilon=nan`"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        sg.datasets.gaussians(**options)
