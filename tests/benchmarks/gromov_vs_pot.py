"""Entropic Gromov-Wasserstein on SNARE-seq cell lines against POT's projected gradient.

One run, one thread. Both minimize `sum (C_x - C_y)^2 P P + eps KL(P | a b)` with the same
intra-costs (squared Euclidean distances between unit rows, scaled to mean 1) and the same epsilon.
The distortion of both plans is computed by the same function. POT stops when its plan moves by less
than `--pot-tolerance` in Frobenius norm; ours when the linearized cost moves by less than one per
cent of epsilon. With some five targets a cell and 1,000 cells, and so plans of norm .014, that is
about 1e-4.

    python tests/benchmarks/gromov_vs_pot.py
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ[
    "OPENBLAS_NUM_THREADS"
] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import ot
import torch
from sklearn.preprocessing import normalize

from realdata import load
from scgenot.metrics import foscttm
from scgenot.ot import GromovWasserstein
from scgenot.pair import Pair


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[5e-3, 1e-2, 2e-2])
    parser.add_argument(
        "--geometry", choices=["centred", "unit"], default="centred", help="as in GromovWasserstein"
    )
    parser.add_argument("--pot-tolerance", type=float, default=1e-4)
    parser.add_argument("--n-starts", type=int, default=40, help="of the full search")
    args = parser.parse_args()
    torch.set_num_threads(1)

    cells = np.random.default_rng(0).permutation(1047)[: args.cells]
    sets = (load(f"snareseq_celllines/{name}").X[cells] for name in ("atac_topics19", "rna_pca10"))
    # POT underflows to an empty plan in single precision
    x, y = (normalize(cells.astype(float)) for cells in sets)
    costs = [intra_cost(rows, args.geometry) for rows in (x, y)]

    print(
        "| eps | solver | distortion | objective | FOSCTTM | seconds | POT's seconds over these |"
    )
    print("|---|---|---|---|---|---|---|")
    for epsilon in args.epsilon:
        seconds, plan = timed(lambda eps: solve_pot(costs, eps, args.pot_tolerance), epsilon)
        print(line(epsilon, "POT, PGD", plan, costs, y, seconds, seconds), flush=True)
        for n_starts in (1, args.n_starts):
            solver = GromovWasserstein(
                epsilon=epsilon, geometry=args.geometry, n_starts=n_starts, device="cpu"
            )
            ours, coupling = timed(solver, Pair(x, y))
            plan = np.concatenate([block.numpy() for _, block in coupling.mass_blocks()]).astype(
                float
            )
            name = f"ours, {n_starts} start{'s' * (n_starts > 1)}" + " (not converged)" * (
                not coupling.diagnostics.converged
            )
            print(line(epsilon, name, plan, costs, y, ours, seconds), flush=True)


def intra_cost(rows: np.ndarray, geometry: str) -> np.ndarray:
    """Squared distances, mean 1; for geometry "unit" between centered rows of length 1."""
    rows = normalize(rows - rows.mean(0)) if geometry == "unit" else rows
    cost = ot.dist(rows)
    return cost / cost.mean()


def solve_pot(costs, epsilon: float, tolerance: float) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inner iterations that stop at their limit
        return ot.gromov.entropic_gromov_wasserstein(
            *costs, epsilon=epsilon, tol=tolerance, solver="PGD"
        )


def timed(function, argument):
    start = time.perf_counter()
    result = function(argument)
    return time.perf_counter() - start, result


def distortion(plan: np.ndarray, source: np.ndarray, target: np.ndarray) -> float:
    """sum (C_x(i, k) - C_y(j, l))^2 P_ij P_kl."""
    p, q = plan.sum(1), plan.sum(0)
    return float(
        p @ source**2 @ p + q @ target**2 @ q - 2 * ((source @ plan @ target) * plan).sum()
    )


def line(epsilon, name, plan, costs, y, seconds, reference) -> str:
    value = distortion(plan, *costs)
    kept = plan > 0
    divergence = (plan[kept] * np.log(plan[kept] * plan.size)).sum()
    mass = plan.sum(1, keepdims=True)
    paired = foscttm(plan @ y / mass, y) if (mass > 0).all() else float("nan")
    return (
        f"| {epsilon:g} | {name} | {value:.5f} | {value + epsilon * divergence:.5f} | {paired:.3f} "
        f"| {seconds:.2f} | {reference / seconds:.1f} |"
    )


if __name__ == "__main__":
    main()
