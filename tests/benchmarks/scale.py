"""CPU seconds and peak memory of what does not fit in memory, one thread.

    python tests/benchmarks/scale.py simulate --cells 1000000   # 2,000 genes, to a zarr folder
    python tests/benchmarks/scale.py embed --cells 200000       # 2,000 genes, a backed file
    python tests/benchmarks/scale.py steps                      # training from 10^4 to 10^6 cells
    python tests/benchmarks/scale.py couple                     # couplings up to 40,000 cells
    python tests/benchmarks/scale.py screen                     # 50 and 500 perturbations
    python tests/benchmarks/scale.py strata                     # many small couplings
    python tests/benchmarks/scale.py extend                     # couplings solved on some cells

Each part runs in a process of its own, whose largest resident memory is printed. Files go to a
temporary folder and are removed.
"""

import argparse
import itertools
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ[
    "OPENBLAS_NUM_THREADS"
] = os.environ["NUMBA_NUM_THREADS"] = "1"

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import torch
from scipy import sparse

import scgenot as sg
from scgenot.ot import extension

N_COMPONENTS = 30


def peak() -> float:
    """Largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_own_process(function: Callable, *args) -> None:
    """Run a part where nothing else has taken memory."""
    child = multiprocessing.get_context("spawn").Process(target=function, args=args)
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"{function.__name__} ended with {child.exitcode}")


def screen(n: int, n_genes: int, rng: np.random.Generator, *, control: float) -> ad.AnnData:
    """Cells of 30 latent dimensions under one drug, in genes."""
    low = rng.normal(size=(n, N_COMPONENTS)).astype(np.float32)
    loadings = np.random.default_rng(0).normal(size=(N_COMPONENTS, n_genes)).astype(np.float32)
    drug = np.where(np.arange(n) < control * n, "control", "A")
    low[drug == "A", :5] += 2
    obs = pd.DataFrame({"drug": pd.Categorical(drug)}, index=[f"cell-{i}" for i in range(n)])
    return ad.AnnData(np.abs(low @ loadings) / 5, obs=obs, var=pd.DataFrame(index=names(n_genes)))


def names(n: int) -> list[str]:
    """Names of genes."""
    return [f"gene-{i}" for i in range(n)]


def simulate(n: int, n_genes: int, folder: str) -> None:
    """Fit few cells, then simulate the response of many to a zarr folder."""
    fitted = screen(2000, n_genes, np.random.default_rng(1), control=0.5)
    sg.tl.embed(fitted)
    learner = sg.model.FlowMatching(steps=200)
    sg.tl.fit_perturbation(fitted, "drug", "control", learner=learner, predict=False)
    # the atlas has its coordinates and no features: 120 MB a million cells
    rows = np.random.default_rng(2).integers(1000, size=n)
    cells = fitted.obsm["X_pca"][:1000][rows]
    atlas = ad.AnnData(obs=pd.DataFrame(index=[f"cell-{i}" for i in range(n)]))
    atlas.obsm["X_pca"] = np.ascontiguousarray(cells)
    before, start, wall = peak(), time.process_time(), time.time()
    out = Path(folder) / "screen.zarr"
    sg.tl.simulate(atlas, "A", model=fitted, out=out, progress=False)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    seconds, wall = time.process_time() - start, time.time() - wall
    print(
        f"simulate {n} cells x {n_genes} genes to zarr: {seconds:.0f} CPU s, {wall:.0f} s, peak "
        f"memory {peak():.2f} GiB ({before:.2f} before), {size / 2**30:.2f} GiB on disk"
    )


def embed(n: int, n_genes: int, folder: str) -> None:
    """Principal components of a backed file of sparse counts: a pass for sums, one for scores."""
    path, rng = Path(folder) / "cells.h5ad", np.random.default_rng(0)
    loadings = rng.normal(size=(N_COMPONENTS, n_genes)).astype(np.float32) / 3
    with h5py.File(path, "w") as file:
        for start in range(0, n, 10_000):
            size = min(10_000, n - start)
            low = rng.normal(size=(size, N_COMPONENTS)).astype(np.float32)
            block = sparse.csr_matrix(np.log1p(rng.poisson(np.exp(low @ loadings / 3 - 2))))
            block = block.astype(np.float32)
            if start == 0:
                ad.io.write_elem(file, "X", block)
            else:
                ad.io.sparse_dataset(file["X"]).append(block)
        for axis, size in (("obs", n), ("var", n_genes)):
            ad.io.write_elem(file, axis, pd.DataFrame(index=[f"{axis}-{i}" for i in range(size)]))
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    backed = ad.read_h5ad(path, backed="r")
    before, start = peak(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sg.tl.embed(backed)
    size = path.stat().st_size / 2**30
    print(
        f"embed {n} cells x {n_genes} genes, {size:.2f} GiB on disk: "
        f"{time.process_time() - start:.0f} CPU s, peak memory {peak():.2f} GiB "
        f"({before:.2f} before)"
    )


class Neighbors:
    """A plan whose pairs are drawn at once, so that training alone is timed."""

    def __init__(self, pair):
        self.n = len(pair.source)

    def sample_pairs(self, n_pairs, *, generator):
        """Draw source cells, each paired with the target cell of its number."""
        rows = torch.randint(self.n, (n_pairs,), generator=generator)
        return rows, rows


def steps(_n: int, _n_genes: int, _folder: str) -> None:
    """Time a training step by the number of cells, the first round's draws left out."""
    sizes, best = (10_000, 100_000, 1_000_000), {}
    for _ in range(4):  # in turns: other programs on the machine slow one size as much as another
        for n in sizes:
            rng = np.random.default_rng(0)
            pair = sg.Pair(*rng.normal(size=(2, n // 2, 30)).astype(np.float32))
            model, seconds = sg.Genot(30, 30, displacement=True), []
            for end in (50, 350):
                learner = sg.model.FlowMatching(steps=end, validation_fraction=0)
                start = time.process_time()
                sg.model.train(model, [pair], [Neighbors(pair)], learner, progress=False)
                seconds.append(time.process_time() - start)
            best[n] = min(best.get(n, np.inf), (seconds[1] - seconds[0]) / 300 * 1e3)
    for n in sizes:
        print(f"{n} cells: {best[n]:.2f} ms a step, {best[n] / best[sizes[0]]:.2f} of the first")


def screens(_n: int, _n_genes: int, _folder: str) -> None:
    """Fit 500 cells of each of many perturbations, without predictions."""
    for n_drugs in (50, 500):
        rng, size, d = np.random.default_rng(0), 500, 30
        drug = np.repeat(["control", *[f"d{i}" for i in range(n_drugs)]], size)
        shift = 0.5 * rng.normal(size=(n_drugs + 1, d))
        shift[0] = 0
        cells = rng.normal(size=(len(drug), d)) / np.sqrt(np.arange(1, d + 1))
        obs = pd.DataFrame({"drug": drug}, index=[f"cell-{i}" for i in range(len(drug))])
        adata = ad.AnnData(obs=obs)
        adata.obsm["X_pca"] = (cells + np.repeat(shift, size, axis=0)).astype(np.float32)
        start = time.process_time()
        sg.tl.fit_perturbation(adata, "drug", "control", predict=False, progress=False)
        seconds = time.process_time() - start
        print(f"fit_perturbation {n_drugs} x {size}: {seconds:.0f} CPU s, peak {peak():.2f} GiB")


def strata(_n: int, _n_genes: int, _folder: str) -> None:
    """Couplings of many small pairs, each alone and together."""
    for n in (50, 100, 200, 300, 500):
        rng, n_pairs, spent = np.random.default_rng(0), 10_000 // n, []
        source, *targets = rng.normal(size=(n_pairs + 1, n, N_COMPONENTS))
        pairs = [sg.Pair(source, target + rng.normal(size=N_COMPONENTS)) for target in targets]
        solver = sg.ot.Sinkhorn(device="cpu")
        for solve in (partial(map, solver), solver.solve_all):
            seconds = []
            for _ in range(3):
                start = time.process_time()
                list(solve(pairs))
                seconds.append(time.process_time() - start)
            spent.append(1e3 * min(seconds) / n_pairs)
        alone, together = spent
        print(f"couplings {n} x {n}: {alone:.1f} ms each, together {together:.1f} ms each")


def couple(_n: int, _n_genes: int, _folder: str) -> None:
    """Couplings and draws of two Gaussians by the number of cells on a side."""
    for n in (5000, 10_000, 20_000, 40_000):
        rng, spread = np.random.default_rng(0), 1 / np.sqrt(np.arange(1, 31))
        x, y = rng.normal(size=(2, n, 30)).astype(np.float32)
        pair = sg.Pair(x * spread, y * spread[::-1] + 0.5 * spread)
        start = time.process_time()
        plan = sg.ot.Sinkhorn(device="cpu")(pair)
        solved = time.process_time() - start
        plan.sample_pairs(2**20, generator=torch.Generator().manual_seed(0))
        drawn = time.process_time() - start - solved
        found = plan.diagnostics
        print(
            f"{n} x {n}: {solved:.1f} CPU s, {solved / n**2 * 1e9:.1f} ns an entry, "
            f"{found.iterations} iterations, error {found.marginal_error:.1g}; draws "
            f"{drawn:.1f} s, {drawn / n**2 * 1e9:.1f} ns an entry; peak {peak():.2f} GiB"
        )


def clusters(n: int, rng: np.random.Generator, *, n_clusters: int, apart: float) -> sg.Pair:
    """Two populations of clusters, whose masses differ between both."""
    d = N_COMPONENTS
    centers, spread = apart * rng.normal(size=(n_clusters, d)), 0.7 / np.sqrt(np.arange(1, d + 1))
    sides = []
    for _ in range(2):
        of = rng.choice(n_clusters, n, p=rng.dirichlet(np.ones(n_clusters)))
        sides.append(centers[of] + spread * rng.normal(size=(n, d)) + 0.2 * rng.normal(size=d))
    return sg.Pair(*sides)


def gaussians(n: int, rng: np.random.Generator) -> sg.Pair:
    """Two populations whose variances fall in opposite order."""
    spread = 1 / np.sqrt(np.arange(1, N_COMPONENTS + 1))
    x, y = rng.normal(size=(2, n, N_COMPONENTS))
    return sg.Pair(x * spread, y * spread[::-1] + 0.5 * spread)


def semidual(plan: sg.ot.Coupling, n_passes: int) -> sg.ot.Coupling:
    """Averaged stochastic ascent of the semidual from the potential g of a balanced plan.

    AdaGrad on blocks of 32 source cells. Of batches of 32, 256 and 1,000, three ways to scale
    steps, and steps that shrink or do not, this had the least error, or near it, on clusters.
    """
    generator, g = torch.Generator().manual_seed(0), plan.g.clone()
    squares, mean, n = torch.zeros_like(g), torch.zeros_like(g), 0
    cost = sg.ot.squared_euclidean.against(plan.y)
    for k in range(n_passes):
        for rows in torch.randperm(len(plan.x), generator=generator).split(32):
            laws = ((g - cost(plan.x[rows])) / plan.epsilon + plan.b.log()).softmax(1)
            gradient = plan.b - laws.mean(0)
            squares += gradient**2
            g = g + plan.epsilon * gradient / (squares.sqrt() + 1e-12)
            if 2 * k >= n_passes:
                mean, n = mean + g, n + 1
    return replace(plan, g=mean / n)


def distance(plan: sg.ot.Coupling, full: sg.ot.Coupling) -> float:
    """Share of the mass that two plans have elsewhere."""
    blocks = zip(plan.mass_blocks(), full.mass_blocks(), strict=True)
    return sum(float((one - other).abs().sum()) for (_, one), (_, other) in blocks) / 2


def extend(_n: int, _n_genes: int, _folder: str) -> None:
    """Couplings of 5,000 cells solved on 1,000, beside the whole one: three seeds.

    Printed are the marginal error, and the share of the mass that lies elsewhere with its standard
    deviation. A step on all cells that evaluates the cost in blocks passes over all pairs twice.
    """
    cases = {"Gaussians": gaussians}
    for n_clusters, apart in ((12, 0.5), (12, 2.0), (40, 2.0)):
        make = partial(clusters, n_clusters=n_clusters, apart=apart)
        cases[f"{n_clusters} clusters, {apart:g} apart"] = make
    ways = {"random": None, **{f"{k} steps": k for k in (0, 3, 10, 40)}, "semidual": 20}
    warnings.simplefilter("ignore")
    for (name, make), epsilon in itertools.product(cases.items(), (0.05, 0.01)):
        errors = {way: [] for way in ways}
        for seed in (3, 4, 5):
            pair = make(5000, np.random.default_rng(seed))
            whole = sg.ot.Sinkhorn(epsilon=epsilon, tolerance=1e-5, max_iterations=5000)(pair)
            solver = sg.ot.Sinkhorn(epsilon=whole.epsilon, relative=False, max_cells=1000, refine=0)
            for way, k in ways.items():
                if way == "random":
                    plan = on_random_cells(solver, pair)
                elif way == "semidual":
                    plan = semidual(solver(pair), k)
                else:
                    plan = replace(solver, refine=k)(pair)
                off = float((plan.marginals()[1] - plan.b).abs().sum())
                errors[way].append((off, distance(plan, whole)))
        told = []
        for way, each in errors.items():
            (marginal, elsewhere), (_, spread) = np.mean(each, 0), np.std(each, 0)
            told.append(f"{way} {marginal:.4f} {elsewhere:.4f} +- {spread:.4f}")
        print(f"{name}, epsilon {epsilon}: " + " | ".join(told), flush=True)


def on_random_cells(solver: sg.ot.Sinkhorn, pair: sg.Pair) -> sg.ot.Coupling:
    """Solve with the subset's own weights, and three steps on all cells."""
    given = extension.subset_weights
    extension.subset_weights = lambda _, weights, cells: weights[cells] / weights[cells].sum()
    try:
        return replace(solver, refine=3)(pair)
    finally:
        extension.subset_weights = given


def main() -> None:
    """Run the parts that were asked for."""
    parts = {
        "simulate": simulate,
        "embed": embed,
        "steps": steps,
        "screen": screens,
        "strata": strata,
    }
    parts |= {"extend": extend, "couple": couple}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="all when none")
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=2000)
    asked = parser.parse_args()
    for part in asked.parts or parts:
        folder = tempfile.mkdtemp()
        try:
            in_own_process(parts[part], asked.cells, asked.genes, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
