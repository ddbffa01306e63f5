"""Training steps for few cells: `python tests/benchmarks/few_cells.py kang labelled`.

200, 400 or 800 random cells of a set are fitted, coupled within types, with several numbers of
steps. All other cells are predicted; figures are those of `perturbation.py`."""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import perturbation

import scgenot as sg

SETS = {"kang": perturbation.kang, "labelled": perturbation.labelled}
SIZES = [200, 400, 800]
STEPS = [300, 500, 750, 1500]
COLUMNS = ["energy", "type energy", "variance", "R2 variances"]


def compared(adata, n_cells: int, seed: int) -> list[perturbation.Row]:
    """Rows of simple methods, the default and fixed numbers of steps."""
    fitted = np.zeros(adata.n_obs, dtype=bool)
    fitted[np.random.default_rng(seed).choice(adata.n_obs, n_cells, replace=False)] = True
    parts = perturbation.embedded(adata, fitted), fitted, ~fitted, seed
    rows = perturbation.simple_rows(*parts)
    learners = {"default": None}
    learners |= {f"{steps} steps": sg.model.FlowMatching(steps=steps) for steps in STEPS}
    for name, learner in learners.items():
        options = {"learner": learner, "covariates": ["kind"], "n_samples": 2}
        rows.append({**perturbation.of_genot(*parts, **options), "method": name})
    return [{**row, "cells": n_cells} for row in rows]


def main() -> None:
    """Print the mean over seeds by number of fitted cells and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help=f"which of {', '.join(SETS)}; all when none")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in args.sets or SETS:
        adata = SETS[name]()
        rows = [row for n in SIZES for k in range(args.seeds) for row in compared(adata, n, k)]
        table = pd.DataFrame(rows).groupby(["cells", "method"], sort=False)[COLUMNS].mean()
        print(f"\n## {name}\n{table.to_string(float_format='{:.4f}'.format)}", flush=True)


if __name__ == "__main__":
    main()
