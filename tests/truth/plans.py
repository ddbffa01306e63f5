"""Plans by brute force, and what holds for each of them."""

import numpy as np
import torch

from scgenot.ot import Coupling


def dense(coupling: Coupling) -> np.ndarray:
    """The plan as an array `(n, m)`, by `P_ij = a_i b_j exp((f_i + g_j - c_ij) / eps)`."""
    cost = coupling.cost(coupling.x, coupling.y)
    exponent = (coupling.f[:, None] + coupling.g - cost) / coupling.epsilon
    return (coupling.a[:, None] * coupling.b * exponent.exp()).cpu().numpy()


def divergence(plan: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """KL(P | a b^T) of unnormalised plans."""
    reference = a[:, None] * b
    kept = plan > 0
    return float(
        (plan[kept] * np.log(plan[kept] / reference[kept])).sum() - plan.sum() + reference.sum()
    )


def marginal_divergence(marginal: np.ndarray, weights: np.ndarray) -> float:
    """KL(marginal | weights) of unnormalised vectors."""
    return float((marginal * np.log(marginal / weights)).sum() - marginal.sum() + weights.sum())


def distortion(plan, source, target):
    """sum_ijkl (C_x(i, k) - C_y(j, l))^2 P_ij P_kl, term by term; arrays or tensors."""
    difference = source[:, None, :, None] - target[None, :, None, :]  # [i, j, k, l]
    einsum = torch.einsum if torch.is_tensor(plan) else np.einsum
    return einsum("ijkl,ij,kl->", difference**2, plan, plan)


def check_balanced(coupling: Coupling, tolerance: float) -> None:
    """Both marginals are the weights, in L1, and all mass is there."""
    plan = dense(coupling)
    assert np.abs(plan.sum(1) - coupling.a.cpu().numpy()).sum() < tolerance
    assert np.abs(plan.sum(0) - coupling.b.cpu().numpy()).sum() < tolerance
    assert abs(coupling.diagnostics.mass - 1) < tolerance
    assert coupling.diagnostics.converged


def check_same_plan(one: Coupling, other: Coupling, tolerance: float) -> None:
    """Two couplings of the same cells are the same plan, in L1."""
    assert np.abs(dense(one) - dense(other)).sum() < tolerance


def check_frequencies(counts: np.ndarray, probabilities: np.ndarray) -> None:
    """Counts fit probabilities by chi-square; a correct sampler fails one time in a million."""
    from scipy.stats import chi2

    expected = counts.sum() * probabilities / probabilities.sum()
    # cells expected fewer than five times are pooled, as usual for the chi-square approximation
    rare = expected < 5
    assert counts[expected == 0].sum() == 0
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(expected) - 1) > 1e-6
