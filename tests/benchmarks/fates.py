"""Fates against clones, days 4 to 6 of larry_clones: `python tests/benchmarks/fates.py`.

Clones are used only for scoring. "in clone" is the coupling's mass between cells of one clone over
that of independent cells with its marginals, 1 at random. "accuracy" and "r" compare a day-4 cell's
fate, the states of its descendants, to the states of its clone on day 6: most probable against most
frequent, and the correlation over all cells and states. "agreement" is the mean absolute
difference, over cells that were not fitted and states, between fates that the model generates and
the row that the coupling gives the cell; "TV" is the same as total variation, half the sum over
states. "targets" is the median over cells of the exponential of the entropy of their descendants:
few targets favour "in clone", so that only plans with about as many can be compared in it."""

import argparse
import sys
from pathlib import Path

import numpy as np
import ot
import pandas as pd
import torch
from anndata import AnnData
from scipy.stats import entropy

sys.path.insert(0, str(Path(__file__).parents[1]))

import scgenot as sg
from realdata import load
from scgenot.fit.transport import open_transport

EPSILONS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
Row = dict[str, float | str]
Tau = tuple[float, float]


def cells_and_truth() -> tuple[AnnData, np.ndarray, pd.DataFrame]:
    """Cells of days 4 and 6, which of them share a clone, and the states of day-6 cells."""
    adata = load("larry_clones/larry")
    adata = adata[adata.obs["day"] >= 4].copy()
    early, late = ((adata.obs["day"] == day).to_numpy() for day in (4, 6))
    clones = (np.asarray(adata.obsm["X_clone"].todense()) > 0).astype(float)
    shared = clones[early] @ clones[late].T > 0
    states = pd.get_dummies(
        adata.obs["state_info"][late].cat.remove_unused_categories(), dtype=float
    )
    return adata, shared, states


def score(plan: np.ndarray, shared: np.ndarray, states: pd.DataFrame) -> Row:
    """Score joint mass, or expected descendants, of day-4 by day-6 cells."""
    source, target = plan.sum(1), plan.sum(0)
    in_clone = plan[shared].sum() / (source[:, None] * target)[shared].sum() * plan.sum()
    seen = shared.any(1)
    fates = plan[seen] @ states.to_numpy() / source[seen, None]
    truth = shared[seen] @ states.to_numpy() / shared[seen].sum(1, keepdims=True)
    return {
        "in clone": in_clone,
        "accuracy": (fates.argmax(1) == truth.argmax(1)).mean(),
        "r": np.corrcoef(fates.ravel(), truth.ravel())[0, 1],
        "targets": np.median(np.exp(entropy(plan, axis=1))),
    }


def nearest(distances: np.ndarray, k: int = 1) -> np.ndarray:
    """Joint mass of cells with the k later cells nearest to them, all alike."""
    plan = np.zeros_like(distances)
    np.put_along_axis(plan, np.argsort(distances, 1)[:, :k], 1 / (k * len(plan)), 1)
    return plan


def transported(adata: AnnData, method: str, seed: int = 0, n_samples: int = 32) -> np.ndarray:
    """Expected descendants of day-4 cells among day-6 cells, dense."""
    early, late = (np.flatnonzero(adata.obs["day"] == day) for day in (4, 6))
    step = open_transport(adata, "genot", method, n_samples=n_samples, rng=seed, device="cpu").step(
        4, 6
    )
    return step.expect(np.eye(adata.n_obs)[:, late])[early]


def fit(adata: AnnData, epsilon: float | str, tau: Tau, steps: int, seed: int = 0) -> AnnData:
    """Fit the two days."""
    learner = sg.model.FlowMatching(steps=steps)
    solver = sg.ot.Sinkhorn(epsilon=epsilon, tau=tau, device="cpu")
    return sg.tl.fit_trajectory(
        adata,
        "day",
        use_rep="X_pca",
        solver=solver,
        learner=learner,
        rng=seed,
        predict=False,
        progress=False,
        copy=True,
    )


def against_clones(seeds: int, epsilons: list[float | str], tau: Tau) -> pd.DataFrame:
    """Plans and models against clones."""
    adata, shared, states = cells_and_truth()
    x, y = (adata.obsm["X_pca"][adata.obs["day"] == day] for day in (4, 6))
    rng = np.random.default_rng(0)
    uniform = [np.full(len(cells), 1 / len(cells)) for cells in (x, y)]
    exact = ot.emd(*uniform, ot.dist(x, y))
    rows = [{"plan": "independent", **score(np.outer(*uniform), shared, states)}]
    # the exact plan between cells in random order
    scores = [score(exact[:, rng.permutation(len(y))], shared, states) for _ in range(200)]
    rows.append({"plan": "random pairs", **pd.DataFrame(scores).mean()})
    rows.append({"plan": "discrete, exact", **score(exact, shared, states)})
    for k in (1, 3, 5, 10):  # a cell becomes the later cells nearest to it
        found = score(nearest(ot.dist(x, y), k), shared, states)
        rows.append({"plan": f"identity, {k} nearest", **found})
    for epsilon in epsilons:
        plan = transported(fit(adata, epsilon, tau, 1), "coupling")
        plans = {"": plan, ", most probable": nearest(-plan)}
        rows += [
            {"plan": f"entropic, epsilon {epsilon}{name}", **score(found, shared, states)}
            for name, found in plans.items()
        ]
    for epsilon in epsilons:
        scores = []
        for seed in range(seeds):
            fitted = fit(adata, epsilon, tau, 3000, seed)
            cells = sg.tl.predict(fitted, rng=seed, progress=False, copy=True)
            mean = cells.obsm["X_genot_mean"][adata.obs["day"] == 4]
            plans = {
                "": transported(fitted, "model", seed),
                ", mean of the draws": nearest(ot.dist(mean, y)),
            }
            scores += [
                {"plan": f"model, epsilon {epsilon}{name}", **score(found, shared, states)}
                for name, found in plans.items()
            ]
        table = pd.DataFrame(scores).groupby("plan", sort=False).agg(["mean", "std"])
        table.columns = [c if of == "mean" else f"{c}, sd" for c, of in table.columns]
        rows += table.reset_index().to_dict("records")
    return pd.DataFrame(rows).set_index("plan")


def agreement(seeds: int, epsilons: list[float | str], tau: Tau) -> pd.DataFrame:
    """Generated fates against rows of the coupling, for a fifth of the day-4 cells, held out."""
    adata, _, table = cells_and_truth()
    early, cells, states = (
        np.flatnonzero(adata.obs["day"] == 4),
        adata.obsm["X_pca"],
        table.to_numpy(),
    )
    rows = []
    for epsilon in epsilons:
        for seed in range(seeds):
            held_out = np.sort(np.random.default_rng(seed).permutation(early)[: len(early) // 5])
            kept = np.setdiff1d(np.arange(adata.n_obs), held_out)
            fitted = fit(adata[kept].copy(), epsilon, tau, 3000, seed)
            adata.uns["genot"] = fitted.uns["genot"]
            generated = transported(adata, "model", seed, n_samples=256)[np.isin(early, held_out)]
            others = np.setdiff1d(early, held_out)
            nearest = others[ot.dist(cells[held_out], cells[others]).argmin(1)]
            (link,) = sg.get.fit(fitted).links
            # columns in the order of the fit, which is that of the AnnData
            by_rows, by_neighbor = (
                link.plan(cells[asked]).rows().double().numpy() @ states
                for asked in (held_out, nearest)
            )
            answers = {
                "model": generated @ states / generated.sum(1, keepdims=True),
                "row of the nearest fitted cell": by_neighbor,
                "all day-6 cells": states.mean(0),
            }
            for name, fates in answers.items():
                gap = np.abs(by_rows - fates)
                found = {"agreement": gap.mean(), "TV": gap.sum(1).mean() / 2}
                rows.append({"epsilon": epsilon, "fate": name, **found})
    return pd.DataFrame(rows).groupby(["epsilon", "fate"], sort=False).mean()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds of the model")
    parser.add_argument(
        "--epsilons", nargs="*", type=float, default=EPSILONS, help="of the entropic plans"
    )
    parser.add_argument(
        "--growth", action="store_true", help="couple with growth, tau (.8, 1), not balanced"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    tables = {"clones": against_clones, "held-out": agreement}
    parser.add_argument("--tables", nargs="*", choices=tables, default=tables, help="which")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.tables:
        tau = (0.8, 1.0) if args.growth else (1.0, 1.0)
        found = tables[name](args.seeds, list(args.epsilons), tau)
        print(f"\n## {name}\n{found.to_string(float_format='{:.3f}'.format)}", flush=True)


if __name__ == "__main__":
    main()
