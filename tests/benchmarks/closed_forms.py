"""Solvers against closed forms on quadrature grids.

    python tests/benchmarks/closed_forms.py

Unbalanced Gaussians, and inner-product Gromov-Wasserstein. Bars: mass, means and covariance of the
unbalanced plan within 1 %, Var(y|x) of the quadratic one within 5 %."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from scgenot.ot import GromovWasserstein, Sinkhorn
from scgenot.pair import Pair
from truth.grids import normal_grid, tensor_grid
from truth.inner_gromov import InnerGromov
from truth.plans import dense
from truth.unbalanced import MASSES, UnbalancedGaussians


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=300, help="of a one-dimensional grid")
    parser.add_argument("--points-per-axis", type=int, default=41, help="of a two-dimensional grid")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.5, 1.0, 2.0, 3.6])
    parser.add_argument("--float64", action="store_true", help="instead of the default, float32")
    args = parser.parse_args()
    torch.set_num_threads(1)
    options = {
        "relative": False,
        "device": "cpu",
        "dtype": torch.float64 if args.float64 else torch.float32,
    }

    print("| unbalanced (s, g) | quantity | solver | closed form | error % |")
    print("|---|---|---|---|---|")
    for s, g in MASSES:
        for name, found, true in unbalanced(
            UnbalancedGaussians(s, g), MASSES[s, g], args.points, options
        ):
            error = 100 * abs(found / true - 1)
            print(f"| ({s:g}, {g:g}) | {name} | {found:.6f} | {true:.6f} | {error:.4f} |")

    print(
        "\n| inner-product GW, eps | axis | Var(y given x) | true | error % "
        "| cross-covariance | true |"
    )
    print("|---|---|---|---|---|---|---|")
    for epsilon in args.epsilon:
        truth = InnerGromov(np.array([2.0, 1.0]), np.array([1.5, 0.8]), epsilon)
        variance, cross = inner(truth, args.points_per_axis, options)
        for k, (v, true) in enumerate(zip(variance, truth.conditional_variance, strict=True)):
            error = 100 * abs(v / true - 1)
            covariances = f"{cross[k]:.4f} | {truth.cross[k]:.4f}"
            print(f"| {epsilon:g} | {k + 1} | {v:.4f} | {true:.4f} | {error:.3f} | {covariances} |")


def unbalanced(truth: UnbalancedGaussians, mass: float, points: int, options: dict):
    """Yield name, value found and true value of the plan's moments."""
    x, a = normal_grid(truth.a, truth.A, points, 8.0)
    y, b = normal_grid(truth.b, truth.B, points, 8.0)
    coupling = Sinkhorn(epsilon=truth.epsilon, tau=(truth.tau, truth.tau), **options)(
        Pair(x, y, None, None, a, b)
    )
    plan = dense(coupling).astype(float)
    yield "mass", plan.sum(), mass
    plan /= plan.sum()
    means = plan.sum(1) @ x[:, 0], plan.sum(0) @ y[:, 0]
    for side, found, true in zip("xy", means, truth.means, strict=True):
        yield f"mean of {side}", found, true
    dx, dy = x[:, 0] - means[0], y[:, 0] - means[1]
    yield "variance of x", plan.sum(1) @ dx**2, truth.covariance[0, 0]
    yield "variance of y", plan.sum(0) @ dy**2, truth.covariance[1, 1]
    yield "covariance", dx @ plan @ dy, truth.covariance[0, 1]
    inner = np.abs(x[:, 0]) < 3 * truth.A**0.5
    growth = coupling.growth().double().numpy()[inner]
    worst = np.argmax(np.abs(growth / truth.growth(x[inner, 0], mass) - 1))
    yield "growth within 3 sd, worst", growth[worst], truth.growth(x[inner, 0], mass)[worst]


def inner(truth: InnerGromov, points: int, options: dict) -> tuple[np.ndarray, np.ndarray]:
    """Conditional variances and absolute cross-covariances of matched axes."""
    (x, a), (y, b) = (
        tensor_grid(np.zeros(2), np.diag(v**0.5), points, 5.0) for v in (truth.source, truth.target)
    )
    solver = GromovWasserstein(
        epsilon=truth.epsilon,
        intra_cost="inner",
        geometry="centred",
        n_starts=1,
        max_outer=100,
        **options,
    )
    coupling = solver(Pair(x, y, None, None, a, b))
    rows = coupling.rows().double().numpy()
    variance = a @ (rows @ y**2 - (rows @ y) ** 2)
    return variance, np.abs(np.diag(x.T @ dense(coupling) @ y))


if __name__ == "__main__":
    main()
