"""Seconds of each part on a GPU, with the name of the card; wall clock, after one warm-up.

    python tests/benchmarks/gpu.py                   # all parts
    python tests/benchmarks/gpu.py couple step       # some of them

Without a GPU the script ends with a message. Where a processor is named, the same call ran on the
processor of the same machine with all its cores.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from size import course, gaussians, screen

import scgenot as sg

D = 50


def seconds(function: Callable) -> tuple[float, object]:
    """Wall seconds and result of a function, the GPU's work included."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = function()
    torch.cuda.synchronize()
    return time.perf_counter() - start, result


def couple() -> None:
    """Linear couplings and draws; nothing is solved on a subset."""
    few = gaussians(5000, D)
    for limit in (2.0, 0.0):  # kernels are compiled: of stored costs and of others
        sg.ot.Sinkhorn(device="cuda", memory_limit=limit)(few)
    for n in (1000, 10_000, 30_000, 100_000, 300_000):
        for epsilon in (0.05, 0.01) if n < 100_000 else (0.05,):
            solver = sg.ot.Sinkhorn(epsilon, max_cells=n, device="cuda")
            torch.cuda.reset_peak_memory_stats()
            pair = gaussians(n, D)
            taken, plan = seconds(lambda solver=solver, pair=pair: solver(pair))
            generator = torch.Generator("cuda").manual_seed(0)
            drawn, _ = seconds(partial(plan.sample_pairs, 2**20, generator=generator))
            found, peak = plan.diagnostics, torch.cuda.max_memory_allocated() / 2**30
            print(
                f"coupling {n} x {n} x {D}, epsilon {epsilon}: {taken:.2f} s, {found.iterations} "
                f"iterations, error {found.marginal_error:.1g}; 2^20 draws {drawn:.2f} s; peak "
                f"{peak:.1f} GiB",
                flush=True,
            )


def strata() -> None:
    """Couplings of many small pairs, each alone and together."""
    for n, n_pairs in ((100, 1000), (500, 500)):
        solver, rng = sg.ot.Sinkhorn(device="cuda"), np.random.default_rng(0)
        source, *targets = rng.normal(size=(n_pairs + 1, n, D)).astype(np.float32)
        pairs = [sg.Pair(source, target + rng.normal(size=D)) for target in targets]
        dict(solver.solve_all(pairs[:20]))
        alone, _ = seconds(lambda pairs=pairs, solver=solver: [solver(pair) for pair in pairs])
        taken, _ = seconds(lambda pairs=pairs, solver=solver: dict(solver.solve_all(pairs)))
        print(f"{n_pairs} couplings {n} x {n}: alone {alone:.2f} s, together {taken:.2f} s")


def step() -> None:
    """Training steps a second, defaults but for the batch and the precision."""
    pair = gaussians(20_000, D)
    plan = sg.ot.Sinkhorn(device="cuda")(pair)
    for batch_size in (256, 1024):
        for precision in ("float32", "bfloat16"):
            found = []
            for steps in (50, 50, 550):  # the first is a warm-up
                learner = sg.model.FlowMatching(
                    steps=steps, batch_size=batch_size, precision=precision, validation_fraction=0
                )
                model = sg.Genot(D, D, displacement=True).to("cuda")
                taken, _ = seconds(
                    lambda model=model, learner=learner: sg.model.train(
                        model, [pair], [plan], learner, progress=False
                    )
                )
                found.append(taken)
            rate = 500 / (found[2] - found[1])
            print(
                f"training, batch {batch_size}, {precision}: {rate:.0f} steps a second", flush=True
            )


def sample() -> None:
    """One draw for each of a million cells."""
    torch.manual_seed(0)
    model, n = sg.Genot(D, D).to("cuda"), 1_000_000
    for parameter in model.field.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    cells = np.random.default_rng(0).normal(size=(n, D)).astype(np.float32)
    model.sample(cells[:5000])
    taken, _ = seconds(lambda: model.sample(cells))
    print(f"sample {n} cells, 1 draw: {taken:.1f} s", flush=True)


def quadratic() -> None:
    """Gromov-Wasserstein with its search."""
    for n in (1000, 5000):
        rng = np.random.default_rng(0)
        x = rng.gamma(1.0, size=(n, 10)) / np.sqrt(np.arange(1, 11))
        y = np.tanh(x) @ rng.normal(size=(10, 15)) + 0.1 * rng.normal(size=(n, 15))
        pair = sg.Pair(x, y[rng.permutation(n)])
        for device in ("cuda", "cpu") if n == 1000 else ("cuda",):
            solver = sg.ot.GromovWasserstein(device=device)
            taken, plan = seconds(lambda solver=solver, pair=pair: solver(pair))
            value = plan.diagnostics.objective
            print(
                f"quadratic coupling {n}, {device}: {taken:.1f} s, objective {value:.4g}",
                flush=True,
            )


def fit() -> None:
    """Whole fits with their defaults, and their predictions."""
    quiet = {"predict": False, "progress": False}
    few = course(500, 30, np.random.default_rng(0))  # libraries are loaded, kernels chosen
    sg.tl.fit_trajectory(
        few, "day", learner=sg.model.FlowMatching(steps=20), device="cuda", **quiet
    )
    for n in (20_000, 100_000):
        adata = course(n, 30, np.random.default_rng(0))
        for device in ("cuda", "cpu") if n == 20_000 else ("cuda",):
            taken, _ = seconds(
                lambda adata=adata, device=device: sg.tl.fit_trajectory(
                    adata, "day", device=device, **quiet
                )
            )
            print(f"fit_trajectory {n} x 30, {device}: {taken:.1f} s", flush=True)
    for n in (50, 500):
        adata = screen(n)
        for device in ("cuda", "cpu") if n == 50 else ("cuda",):
            taken, _ = seconds(
                lambda adata=adata, device=device: sg.tl.fit_perturbation(
                    adata, "drug", "control", device=device, **quiet
                )
            )
            print(f"fit_perturbation {n} x 500, {device}: {taken:.1f} s", flush=True)


PARTS = {part.__name__: part for part in (couple, strata, step, sample, quadratic, fit)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("There is no GPU that PyTorch can use.")
    warnings.simplefilter("ignore")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    for name in options.parts or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
