"""CPU seconds of each part of a fit, one thread, beside a peer in the same run where there is one.

    python tests/benchmarks/speed.py                     # all but what takes minutes
    python tests/benchmarks/speed.py sinkhorn --large    # one part, with its largest sizes

The peer is POT: its `sinkhorn` in single precision (double where that underflows) and its
`entropic_gromov_wasserstein`; `peers.py` has others. Seconds are those of this process on a
processor (`process_time`), the best of several runs, taken in turns.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ[
    "OPENBLAS_NUM_THREADS"
] = os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
import ot
import torch
from size import course, gaussians, screen

import scgenot as sg

TOLERANCE = 1e-3


def best(*functions: Callable, repeats: int) -> list[tuple[float, object]]:
    """CPU seconds and result of each function, the best of some rounds of all of them."""
    found = [(float("inf"), None)] * len(functions)
    for _ in range(repeats):
        for k, function in enumerate(functions):
            start = time.process_time()
            result = function()
            found[k] = min(found[k], (time.process_time() - start, result), key=lambda one: one[0])
    return found


def clusters(n: int, d: int) -> sg.Pair:
    """Two times of twelve clusters that move."""
    adata = course(2 * n, d, np.random.default_rng(0))
    day = adata.obs["day"].to_numpy()
    return sg.Pair(adata.obsm["X_pca"][day == 0], adata.obsm["X_pca"][day == 1])


def draw(*, large: bool) -> None:
    """Pairs from the coupling of 20,000 x 20,000 cells (10,000 without `--large`)."""
    n = 20_000 if large else 10_000
    coupling = sg.ot.Sinkhorn(device="cpu")(gaussians(n, 30))
    for n_pairs in (2**18, 2**20):
        ((seconds, _),) = best(
            lambda n_pairs=n_pairs: coupling.sample_pairs(
                n_pairs, generator=torch.Generator().manual_seed(0)
            ),
            repeats=3,
        )
        each = seconds / n**2 * 1e9
        print(f"draw {n_pairs} pairs, {n} x {n}: {seconds:.2f} s, {each:.1f} ns an entry")


def sinkhorn(*, large: bool) -> None:
    """Couplings to a marginal error of 1e-3, against POT's."""
    for n in (1000, 4000, *([16_000] if large else [])):
        for name, make in (("Gaussians", gaussians), ("clusters", clusters)):
            pair = make(n, 30)
            for epsilon in (0.05, 0.01):
                solver = sg.ot.Sinkhorn(epsilon=epsilon, tolerance=TOLERANCE, device="cpu")
                absolute = solver(pair).epsilon
                (ours, coupling), (theirs, plan) = best(
                    lambda solver=solver, pair=pair: solver(pair),
                    lambda pair=pair, absolute=absolute: pot_sinkhorn(pair, absolute),
                    repeats=3 if n < 4000 else 1,
                )
                error = np.abs(plan.sum(1) - 1 / n).sum() + np.abs(plan.sum(0) - 1 / n).sum()
                print(
                    f"Sinkhorn {name} {n} eps {epsilon}: {ours:.2f} s "
                    f"(error {coupling.diagnostics.marginal_error:.0e}), "
                    f"POT {theirs:.2f} s (error {error:.0e}), {theirs / ours:.1f} x",
                    flush=True,
                )


def pot_sinkhorn(pair: sg.Pair, epsilon: float) -> np.ndarray:
    """POT's scaling iterations, in double precision where single precision underflows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for precision in (np.float32, np.float64):
            cost = ot.dist(pair.source.astype(precision), pair.target.astype(precision))
            weights = np.full(len(cost), 1 / len(cost), precision)
            # it stops by the L2 norm of the marginal error; L1 is at most sqrt(n) times as large
            stop = TOLERANCE / len(cost) ** 0.5
            plan = ot.sinkhorn(weights, weights, cost, epsilon, stopThr=stop, numItermax=1000)
            if np.isfinite(plan).all() and abs(plan.sum() - 1) < 0.1:
                break
    return plan


def gromov(*, large: bool) -> None:
    """Quadratic couplings, search included, against POT's single descent from the product."""
    for n in (500, 1000, *([4000] if large else [])):
        rng = np.random.default_rng(0)
        x = rng.gamma(4.0, size=(n, 6)) / np.sqrt(np.arange(1, 7))
        y = np.tanh(x) @ rng.normal(size=(6, 8)) + 0.1 * rng.normal(size=(n, 8))
        pair = sg.Pair(x, y[rng.permutation(n)])
        solver = sg.ot.GromovWasserstein(epsilon=0.01, geometry="raw", device="cpu")
        peers = [lambda pair=pair: pot_gromov(pair, 0.01)] if n <= 1000 else []
        (ours, coupling), *others = best(
            lambda pair=pair, solver=solver: solver(pair), *peers, repeats=1
        )
        line = f"Gromov-Wasserstein {n}: {ours:.1f} s, distortion {distortion(coupling, pair):.4f}"
        for theirs, plan in others:
            if abs(plan.sum() - 1) > 0.1:
                line += f"; POT {theirs:.1f} s, an empty plan: its kernel underflows"
                continue
            line += f"; POT {theirs:.1f} s, {pot_distortion(plan, pair):.4f}, {theirs / ours:.2f} x"
        print(line, flush=True)


def scaled_costs(pair: sg.Pair) -> list[np.ndarray]:
    """Squared distances within each side, mean 1."""
    costs = [ot.dist(cells.astype(float)) for cells in (pair.source, pair.target)]
    return [cost / cost.mean() for cost in costs]


def pot_gromov(pair: sg.Pair, epsilon: float) -> np.ndarray:
    """POT's projected gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ot.gromov.entropic_gromov_wasserstein(
            *scaled_costs(pair), epsilon=epsilon, tol=1e-4, solver="PGD", max_iter=100
        )


def pot_distortion(plan: np.ndarray, pair: sg.Pair) -> float:
    """`sum (C_x - C_y)^2 P P` of a plan."""
    (c_x, c_y), (p, q) = scaled_costs(pair), (plan.sum(1), plan.sum(0))
    return float(p @ c_x**2 @ p + q @ c_y**2 @ q - 2 * (c_x @ plan @ c_y * plan).sum())


def distortion(coupling: sg.ot.Coupling, pair: sg.Pair) -> float:
    """The same of a coupling."""
    plan = np.concatenate([block.numpy() for _, block in coupling.mass_blocks()]).astype(float)
    return pot_distortion(plan, pair)


def step(*, large: bool) -> None:
    """A training step over its matrix products, forward and both of backward."""
    pair = gaussians(3000, 30)
    plan = sg.ot.Sinkhorn(device="cpu")(pair)
    for batch_size in (256, 1024):

        def trained(steps: int, batch_size: int = batch_size) -> None:
            learner = sg.model.FlowMatching(
                steps=steps, batch_size=batch_size, validation_fraction=0
            )
            sg.model.train(sg.Genot(30, 30), [pair], [plan], learner, progress=False)

        layers = [m for m in sg.Genot(30, 30).field.modules() if isinstance(m, torch.nn.Linear)]
        sides = [(m.in_features, m.out_features) for m in layers]
        arrays = [
            (torch.randn(batch_size, i), torch.randn(o, i), torch.randn(batch_size, o))
            for i, o in sides
        ]

        def products(arrays: list = arrays) -> None:
            for _ in range(20):
                for x, w, grad in arrays:
                    _ = x @ w.T, grad @ w, grad.T @ x

        trained(5)
        (few, _), (many, _), (gemm, _) = best(
            lambda: trained(20), lambda: trained(120), products, repeats=4
        )
        each, gemm = (many - few) * 10, gemm * 50
        print(
            f"training step, batch {batch_size}: {each:.1f} ms, matrix products {gemm:.1f} ms, "
            f"{each / gemm:.1f} x"
        )


def trajectory(*, large: bool) -> None:
    """`fit_trajectory` of 20,000 cells x 30 (100,000 with `--large`) at two times."""
    for n in (20_000, *([100_000] if large else [])):
        adata = course(n, 30, np.random.default_rng(0))
        ((seconds, _),) = best(
            lambda adata=adata: sg.tl.fit_trajectory(adata, "day", predict=False, progress=False),
            repeats=1,
        )
        print(f"fit_trajectory {n} x 30: {seconds:.0f} s", flush=True)


def perturbation(*, large: bool) -> None:
    """`fit_perturbation` of 50 conditions of 500 cells (500 with `--large`)."""
    for n_conditions in (50, *([500] if large else [])):
        adata = screen(n_conditions)
        ((seconds, _),) = best(
            lambda adata=adata: sg.tl.fit_perturbation(
                adata, "drug", control="control", predict=False, progress=False
            ),
            repeats=1,
        )
        print(f"fit_perturbation {n_conditions} x 500: {seconds:.0f} s", flush=True)


def translation(*, large: bool) -> None:
    """The coupling of `fit_translation`, 5,000 x 5,000 cells, search included."""
    rng, n = np.random.default_rng(0), 5000
    x = rng.gamma(1.0, size=(n, 10)) / np.sqrt(np.arange(1, 11))
    y = np.tanh(x) @ rng.normal(size=(10, 15)) + 0.1 * rng.normal(size=(n, 15))
    solver = sg.ot.GromovWasserstein(device="cpu")
    ((seconds, _),) = best(lambda: solver(sg.Pair(x, y[rng.permutation(n)])), repeats=1)
    print(f"coupling of fit_translation 5,000 x 5,000: {seconds:.0f} s")


def predict(*, large: bool) -> None:
    """32 draws for each of 10,000 cells (100,000 with `--large`)."""
    torch.manual_seed(0)
    model, n = sg.Genot(30, 30), 100_000 if large else 10_000
    for parameter in model.field.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    cells = np.random.default_rng(0).normal(size=(n, 30)).astype(np.float32)
    ((seconds, _),) = best(lambda: model.mean(cells, n_samples=32), repeats=1 if large else 3)
    print(f"predict {n} cells, 32 draws: {seconds:.1f} s")


PARTS = {
    part.__name__: part
    for part in (draw, sinkhorn, gromov, step, trajectory, perturbation, translation, predict)
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--large", action="store_true", help="also the sizes that take minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in options.parts or PARTS:
        PARTS[name](large=options.large)


if __name__ == "__main__":
    main()
