"""Coverage of calibrated regions on new cells: `python tests/benchmarks/calibration.py`.

`kang_ifnb` in five parts of control and treated cells. Each part is asked once, the next part
calibrates, and the model and the principal components are those of the other three. The second
table asks each donor once, calibrated on a fifth of the cells of the other donors."""

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

sys.path.insert(0, str(Path(__file__).parents[1]))

from perturbation import embedded, kang

import scgenot as sg

N_PARTS = 5


def parts(adata: AnnData, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield which cells calibrate, and which are asked."""
    part = np.random.default_rng(seed).permutation(adata.n_obs) % N_PARTS
    for k in range(N_PARTS):
        yield f"part {k + 1}", part == (k + 1) % N_PARTS, part == k


def donors(adata: AnnData, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield which cells calibrate, and which are asked: all of a donor."""
    fifth = np.random.default_rng(seed).permutation(adata.n_obs) % N_PARTS == 0
    for donor in adata.obs["donor"].unique():
        asked = (adata.obs["donor"] == donor).to_numpy()
        yield str(donor), fifth & ~asked, asked


def covered(adata: AnnData, calibrating: np.ndarray, asked: np.ndarray, seed: int) -> pd.DataFrame:
    """Coverage of the asked treated cells at 80 and 90 %, by a fit on the remaining cells.

    One row a level: the region of all components, and the mean over intervals of single ones.
    """
    cells = embedded(adata, ~(calibrating | asked))
    train = cells[~(calibrating | asked)].copy()
    sg.tl.fit_perturbation(
        train, "drug", "control", use_rep="X_pca", covariates=["kind"], rng=seed, progress=False
    )
    sg.tl.calibrate(cells, held_out=calibrating, model=train, levels=(0.8, 0.9), rng=seed)
    table = sg.tl.coverage(cells, held_out=asked, model=train, rng=seed)
    region = (table["feature"] == "region").to_numpy()
    columns = ["raw_coverage", "coverage"]
    joint = table[region].set_index("level")[[*columns, "n"]]
    single = table[~region].groupby("level")[columns].mean().add_prefix("interval_")
    return joint.join(single).reset_index()


def mean_over_cells(rows: pd.DataFrame, level: float) -> dict[str, float]:
    """Average so that each treated cell counts the same."""
    n = rows["n"].sum()
    shares = {
        column: np.average(rows[column], weights=rows["n"])
        for column in rows
        if "coverage" in column
    }
    return {**shares, "n": n, "error": np.sqrt(level * (1 - level) / n)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", choices=["parts", "donors", []], help="all when none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    adata = kang()
    for name in args.tables or ["parts", "donors"]:
        found = []
        for part, calibrating, asked in {"parts": parts, "donors": donors}[name](adata, args.seed):
            found.append(covered(adata, calibrating, asked, args.seed).assign(part=part))
            print(found[-1].round(3).to_string(index=False), flush=True)
        table = pd.concat(found)
        means = pd.DataFrame(
            {level: mean_over_cells(rows, level) for level, rows in table.groupby("level")}
        ).T
        print(f"\n## {name}, all cells\n{means.round(4).to_string()}\n", flush=True)


if __name__ == "__main__":
    main()
