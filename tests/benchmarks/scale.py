"""CPU seconds and peak memory of what does not fit in memory, one thread.

    python tests/benchmarks/scale.py simulate --cells 1000000   # 2,000 genes, to a zarr folder

Each part runs in a process of its own, whose largest resident memory is printed. Files go to a
temporary folder and are removed.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ[
    "OPENBLAS_NUM_THREADS"
] = os.environ["NUMBA_NUM_THREADS"] = "1"

import anndata as ad
import numpy as np
import pandas as pd

import scgenot as sg

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


def main() -> None:
    """Run the parts that were asked for."""
    parts = {"simulate": simulate}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=parts, default=list(parts))
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=2000)
    asked = parser.parse_args()
    for part in asked.parts:
        folder = tempfile.mkdtemp()
        try:
            in_own_process(parts[part], asked.cells, asked.genes, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
