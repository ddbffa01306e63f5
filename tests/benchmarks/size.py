"""Time and memory of a fit on many cells: `python tests/benchmarks/size.py --cells 20000`.

Two time points of cells in 30 dimensions, half of the cells each: clusters that move and spread.
The peak memory is that of the whole process, libraries included."""

import argparse
import resource
import time

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

import scgenot as sg


def course(n_cells: int, n_dims: int, rng: np.random.Generator) -> AnnData:
    """Twelve clusters with variances that fall like those of principal components, at two times."""
    spread = 5 / np.sqrt(np.arange(1, n_dims + 1))
    centres, moves = rng.normal(size=(2, 12, n_dims)) * spread
    kind, day = rng.integers(12, size=n_cells), np.arange(n_cells) % 2
    cells = (
        centres[kind]
        + day[:, None] * moves[kind] / 2
        + rng.normal(size=(n_cells, n_dims)) * spread / 4
    )
    obs = pd.DataFrame(
        {"day": day, "kind": pd.Categorical(kind.astype(str))}, index=np.arange(n_cells).astype(str)
    )
    return AnnData(cells.astype(np.float32), obs=obs, obsm={"X_pca": cells.astype(np.float32)})


def screen(n_conditions: int) -> AnnData:
    """Cells of a control and of some perturbations, 500 each, in 30 dimensions."""
    rng, n = np.random.default_rng(0), 500 * (n_conditions + 1)
    drug = np.arange(n) // 500
    shift = rng.normal(size=(n_conditions + 1, 30)) * (np.arange(n_conditions + 1) > 0)[:, None]
    cells = (rng.normal(size=(n, 30)) + shift[drug]).astype(np.float32)
    names = np.r_[["control"], [f"drug{k}" for k in range(n_conditions)]][drug]
    obs = pd.DataFrame({"drug": names}, index=np.arange(n).astype(str))
    return AnnData(obs=obs, obsm={"X_pca": cells})


def gaussians(n: int, d: int, seed: int = 0) -> sg.Pair:
    """Two populations whose variances fall in opposite order."""
    rng, spread = np.random.default_rng(seed), 1 / np.sqrt(np.arange(1, d + 1))
    x, y = rng.normal(size=(2, n, d)).astype(np.float32)
    return sg.Pair(x * spread, y * spread[::-1] + 0.5 * spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--dims", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    adata = course(options.cells, options.dims, np.random.default_rng(0))
    started = time.perf_counter()
    sg.tl.fit_trajectory(adata, "day", predict=False, progress=False)
    fitted = time.perf_counter()
    sg.tl.predict(adata)
    predicted = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(sg.get.fit(adata).table.T.to_string())
    kind = adata.obs["kind"].to_numpy()
    early = adata.obs["day"].to_numpy() == 0
    score = sg.metrics.label_transfer(
        adata.obsm["X_genot"][early], adata.obsm["X_pca"][~early], kind[early], kind[~early]
    )
    print(
        f"{options.cells} cells x {options.dims}: fit {fitted - started:.0f} s, predict "
        f"{predicted - fitted:.0f} s, peak {peak:.2f} GiB; {score:.3f} of the drawn descendants "
        "are in the cluster of their cell"
    )


if __name__ == "__main__":
    main()
