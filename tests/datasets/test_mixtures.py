"""The benchmark whose conditional laws are mixtures: its cells are those of its law."""

import numpy as np
import pytest

import scgenot as sg


@pytest.mark.medium
@pytest.mark.parametrize("epsilon", [0.1, 10.0])
def test_cells_follow_the_law(epsilon):
    adata = sg.datasets.mixtures(3, epsilon, 1, n_cells=4000)
    law = sg.model.MixtureLaw(**adata.uns["truth"])
    source, target = (adata.X[adata.obs["time"] == time].astype(float) for time in (0, 1))
    drawn = law.sample(source, rng=5)[:, 0]
    # two samples of one population: their unbiased squared energy distance is 0 in the mean
    again = law.sample(source[::-1], rng=6)[:, 0]
    noise = sg.metrics.energy_distance(again, drawn, unbiased=True)
    assert abs(sg.metrics.energy_distance(target, drawn, unbiased=True)) < 0.02 + abs(noise)
    np.testing.assert_allclose(
        adata.obsm["X_conditional_mean"][:4000], law.mean(source), atol=1e-4 * law.epsilon + 1e-3
    )
    assert np.isnan(adata.obsm["X_conditional_mean"][4000:]).all()


def test_the_potential_form_of_the_benchmark():
    # a potential that is a mixture p_k N(m_k, P_k) makes the same law: S = (I + eps P^-1)^-1
    truth = sg.datasets.mixtures(3, 0.7).uns["truth"]
    law, epsilon, eye = sg.model.MixtureLaw(**truth), truth["epsilon"], np.eye(3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8, 3))
    log_p = []
    for alpha, r, slope in zip(law.weights, law.intercepts, law.slopes, strict=True):
        if np.linalg.eigvalsh(slope).max() > 1 - 1e-9:
            slope = slope * (1 - 1e-9)  # an eigenvalue of 1 is a potential without end
        P = epsilon * np.linalg.inv(np.linalg.inv(slope) - eye)
        covariance = np.linalg.inv(eye / epsilon + np.linalg.inv(P))
        m = P @ np.linalg.solve(covariance, r)
        near = P + epsilon * eye
        # p_k that gives alpha_k: both weights are the same at x = 0
        log_w = np.log(alpha) + (m @ np.linalg.solve(near, m)) / 2
        log_w = log_w - ((x - m) * np.linalg.solve(near, (x - m).T).T).sum(1) / 2
        mean = (np.linalg.solve(P, m) + x / epsilon) @ covariance
        off = y - mean
        square = (off * np.linalg.solve(covariance, off.T).T).sum(1)
        density = -(square + np.linalg.slogdet(2 * np.pi * covariance)[1]) / 2
        log_p.append((log_w, density))
    log_w, density = (np.stack(part, axis=1) for part in zip(*log_p, strict=True))
    log_w -= np.logaddexp.reduce(log_w, axis=1, keepdims=True)
    found = np.logaddexp.reduce(log_w + density, axis=1)
    np.testing.assert_allclose(law.log_prob(x, y), found, rtol=1e-5)


def test_the_law_is_the_same_whatever_the_number_of_cells():
    few, many = (sg.datasets.mixtures(4, 1.0, 2, n_cells=n).uns["truth"] for n in (10, 50))
    for name, value in few.items():
        np.testing.assert_array_equal(value, many[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dim": 0}, "`dim=0`"), ({"epsilon": -1.0}, "`epsilon=-1.0`"), ({"n_cells": 1}, "`n_cells")],
)
def test_impossible_mixtures(options, message):
    with pytest.raises(ValueError, match=message):
        sg.datasets.mixtures(**options)
