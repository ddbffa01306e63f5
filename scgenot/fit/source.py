"""Cells as a model takes them in and gives them out; the only reader of a fit's representation."""

import numpy as np
from anndata import AnnData

from scgenot.cells.embedding import place, read_slot
from scgenot.cells.read import representation


def read_source(fit, adata: AnnData, *, use_rep=None, shared_rep=None) -> np.ndarray:
    """Read the representation in the space of the fit, and shared features after it; checked."""
    task = fit.task
    fitted = adata if fit.adata is None else fit.adata
    rep = use_rep or getattr(task, "use_rep", None)
    layer = getattr(task, "layer", None) if use_rep is None else None
    cells = place(adata, fitted, rep, layer=layer)
    if (slot := read_slot(adata, task, rep)) != rep:
        cells = representation(adata, slot)
    own = use_rep is None or use_rep == getattr(task, "use_rep", None)
    if own and fit.reference is not None:
        within = all(link.within for link in fit.links)
        sides = ("source", "target") if within else ("source",)
        if adata is fit.adata:
            fit.reference.check(adata, cells, rep, sides)
        else:
            fit.reference.check_fitted(fitted, read_slot(fitted, task, rep), sides)
    if fit.reference is not None:  # knows the width without making the model
        check_width(cells, fit.reference.source_cells.shape[1], rep)
    shared_rep = shared_rep or getattr(task, "shared_rep", None)
    if shared_rep is not None:
        cells = np.hstack([cells, place(adata, fitted, shared_rep, argument="shared_rep")])
    if fit.reference is None:
        check_width(cells, getattr(fit.model, "source_dim", cells.shape[1]), rep)
    return cells


def check_width(cells: np.ndarray, width: int, rep: str | None) -> None:
    """Raise a ValueError when cells have other columns than the model was fitted with."""
    if cells.shape[1] != width:
        raise ValueError(
            f"`use_rep={rep!r}` gives {cells.shape[1]} columns in `adata`, the model was fitted "
            f"with {width}: project the cells with `sg.tl.project` onto the embedding of the "
            "fitted cells."
        )


def read_targets(fit, adata: AnnData) -> np.ndarray:
    """Read measured target cells of another AnnData in the space of the targets; checked."""
    rep = fit.task.target_rep
    cells = representation(adata, rep, name="adata_target", argument="target_rep")
    if fit.reference is not None:
        fit.reference.check(adata, cells, rep, ("target",), name="`adata_target`")
    return cells
