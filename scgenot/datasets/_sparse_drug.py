"""A drug that moves a few genes, others in each cell type, by an amount that the cell shows."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import check_count
from scgenot._random import Rng, numpy_rng

TYPES = ("T1", "T2", "T3")
PROGRAMS = 3
N_STATE = 10  # genes that show the state of a cell; no drug moves them
BETWEEN, PROGRAM, STATE, NOISE = 1.0, 0.35, 0.8, 0.7
SMALLEST, LARGEST = 1.0, 2.0  # mean change of a gene
LEAN = 0.5  # how much the change grows with the state


def sparse_drug(
    n_cells: int = 3000, *, n_genes: int = 50, n_moved: int = 5, rng: Rng = 0
) -> AnnData:
    """Simulate a drug that changes a few genes, different ones in each cell type.

    Half of the cells are control cells. Genes are normally distributed around the mean of the cell
    type, with shared and individual variation. Ten genes that the drug does not change reveal the
    state `s` of a cell. In each type the drug changes `n_moved` genes that it does not change in
    other types, by individual effects of 1 to 2 up or down, times `1 + tanh(s) / 2`. Given the
    unchanged genes, the effect is a shift, so that it is the optimal map in these genes.

    Parameters
    ----------
    n_cells
        Number of cells.
    n_genes
        Number of genes: ten, and at least `n_moved` for each of the three types.
    n_moved
        Number of genes that the drug changes in a cell.
    rng
        Seed. The effect of the drug does not depend on the number of cells.

    Returns
    -------
    AnnData with

    `X`
        Expression, of about unit standard deviation within a type.
    `obs["drug"]`, `obs["cell_type"]`
        `"control"` or `"drug"`; one of three types.
    `layers["change"]`
        Effect of the drug on the cell; for control cells the effect it would have.

    Raises
    ------
    TypeError
        When a count is not an integer.
    ValueError
        When there are too few genes or cells.

    Examples
    --------
    >>> adata = sg.datasets.sparse_drug()
    >>> learner = sg.model.MongeMap(sparsity=sg.model.Sparsity(n_features=5))
    >>> sg.tl.fit_perturbation(adata, "drug", "control", use_rep="X", learner=learner)
    """
    check_count("n_moved", n_moved, 1)
    check_count("n_genes", n_genes, N_STATE + len(TYPES) * n_moved, "for ten and those that move")
    check_count("n_cells", n_cells, 2)
    law, cells = numpy_rng(rng).spawn(2)
    centers = BETWEEN * law.normal(size=(len(TYPES), n_genes))
    programs = PROGRAM * law.normal(size=(PROGRAMS, n_genes))
    movable = N_STATE + law.permutation(n_genes - N_STATE)[: len(TYPES) * n_moved]
    movable = movable.reshape(len(TYPES), n_moved)
    sizes = law.uniform(SMALLEST, LARGEST, movable.shape) * law.choice([-1, 1], movable.shape)

    kind, state = cells.integers(len(TYPES), size=n_cells), cells.normal(size=n_cells)
    deviation = cells.normal(size=(n_cells, PROGRAMS)) @ programs
    deviation += NOISE * cells.normal(size=(n_cells, n_genes))
    deviation[:, :N_STATE] = NOISE * cells.normal(size=(n_cells, N_STATE)) + STATE * state[:, None]
    shown = deviation[:, :N_STATE].mean(1) / STATE
    change = np.zeros((n_cells, n_genes))
    amount = 1 + LEAN * np.tanh(shown)
    np.put_along_axis(change, movable[kind], sizes[kind] * amount[:, None], axis=1)
    treated = np.arange(n_cells) >= n_cells // 2
    values = centers[kind] + deviation + treated[:, None] * change
    obs = pd.DataFrame(
        {
            "drug": pd.Categorical(np.where(treated, "drug", "control")),
            "cell_type": pd.Categorical.from_codes(kind, TYPES),
        },
        index=[f"cell-{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)])
    return AnnData(
        values.astype(np.float32), obs, var, layers={"change": change.astype(np.float32)}
    )
