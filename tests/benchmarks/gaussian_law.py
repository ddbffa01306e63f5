"""How well the conditional law of a Gaussian problem is learned, and what the error is made of.

    python tests/benchmarks/gaussian_law.py [--seeds 1] [--dims 10 30]

Epsilon is 0.05 of the mean cost, 5,000 cells a side. Errors are cBW-UVP in points over the floor,
the score of exact draws: of a network trained on exact draws (what the network adds), of the
discrete plan (what the plan adds), and of a network trained on the plan. Seconds are of CPU, plan
and training together. Bar: the last at most 0.5 points at d = 10 and 1.0 at d = 30 within 120 CPU
seconds."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from scgenot.model import FlowMatching, Genot, train
from scgenot.ot import Sinkhorn
from scgenot.pair import Pair
from truth.gaussians import ExactCoupling, GaussianProblem, random_problem
from truth.laws import cbw_uvp, cbw_uvp_floor

N_CELLS, N_TEST, N_SAMPLES = 5000, 200, 500
BARS = {10: 0.5, 30: 1.0}


def fit(pair: Pair, coupling, learner: FlowMatching) -> tuple[Genot, float]:
    """Train with the usual options; model and CPU seconds."""
    start = time.process_time()
    model = Genot(pair.source.shape[1], pair.target.shape[1])
    train(model, [pair], [coupling], learner, progress=False)
    return model, time.process_time() - start


def error_of_model(problem: GaussianProblem, x: np.ndarray, model: Genot) -> float:
    return cbw_uvp(problem, x, model.sample(x, n_samples=N_SAMPLES, rng=0).double().numpy())


def error_of_plan(
    problem: GaussianProblem, source: np.ndarray, target: np.ndarray, coupling, rng
) -> float:
    """Sampled like a model, but at cells of the fit: the plan knows no others without its dual."""
    chosen = torch.as_tensor(rng.choice(len(source), N_TEST, replace=False))
    drawn = coupling.sample(chosen, n_samples=N_SAMPLES, generator=torch.Generator().manual_seed(0))
    return cbw_uvp(problem, source[chosen], target[drawn])


def row(dim: int, seed: int, learner: FlowMatching) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    problem = random_problem(dim, rng)
    source, target = problem.sample_source(N_CELLS, rng), problem.sample_target(N_CELLS, rng)
    x = problem.sample_source(N_TEST, rng)
    floor = np.mean([cbw_uvp_floor(problem, x, N_SAMPLES, rng) for _ in range(4)])
    exact = ExactCoupling(problem, source, 20, rng)
    network, network_seconds = fit(Pair(source, exact.targets), exact, learner)
    start = time.process_time()
    coupling = Sinkhorn(epsilon=0.05)(Pair(source, target))
    plan_seconds = time.process_time() - start
    both, seconds = fit(Pair(source, target), coupling, learner)
    return {
        "floor": floor,
        "network": error_of_model(problem, x, network) - floor,
        "network_s": network_seconds,
        "plan": error_of_plan(problem, source, target, coupling, rng) - floor,
        "plan_s": plan_seconds,
        "both": error_of_model(problem, x, both) - floor,
        "total_s": plan_seconds + seconds,
        "bar": BARS.get(dim, np.nan),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--dims", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for dim in arguments.dims:
        for seed in range(arguments.seeds):
            result = row(dim, seed, FlowMatching(steps=arguments.steps))
            print(
                f"d={dim} seed={seed}",
                *(f"{name}={value:.3f}" for name, value in result.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
