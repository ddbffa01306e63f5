"""Source cells as a model takes them in, in the embedding of the fitted cells."""

from os import PathLike

import numpy as np
from anndata import AnnData

from scgenot import get
from scgenot._check import usable_device
from scgenot.cells.embedding import place
from scgenot.cells.read import check_anndata
from scgenot.fit.questions import PASS_THE_FIT
from scgenot.fit.seen import refuse_moved
from scgenot.model import Genot

ModelSource = Genot | AnnData | str | PathLike | None


def ready_model(
    adata: AnnData, model: ModelSource, key: str, device: str | None
) -> tuple[Genot, dict, AnnData]:
    """Find a model, put it where it computes, and say which cells it was fitted with."""
    check_anndata(adata)
    genot, params = get.resolve_model(adata, model, key)
    if not params and genot.condition_dim:
        raise ValueError(f"`model` came without its fit. {PASS_THE_FIT}")
    if model is None:
        refuse_moved(adata, get.fit_entry(adata, key), params)
    return genot.to(usable_device(device)), params, model if isinstance(model, AnnData) else adata


def source_cells(
    adata: AnnData,
    params: dict,
    *,
    use_rep: str | None = None,
    shared_rep: str | None = None,
    fitted: AnnData | None = None,
) -> np.ndarray:
    """Read what the network takes in: the representation, and shared features after it."""
    fitted = adata if fitted is None else fitted
    layer = params.get("layer") if use_rep is None else None
    cells = place(adata, fitted, use_rep or params.get("use_rep"), layer=layer)
    shared_rep = shared_rep or params.get("shared_rep")
    if shared_rep is None:
        return cells
    return np.hstack([cells, place(adata, fitted, shared_rep, argument="shared_rep")])


def checked_width(cells: np.ndarray, genot: Genot) -> np.ndarray:
    """Return the cells, or raise when they have other columns than the model was fitted with."""
    if cells.shape[1] != genot.source_dim:
        raise ValueError(
            f"`use_rep` gives {cells.shape[1]} columns in `adata`, the model was fitted with "
            f"{genot.source_dim}: project the cells with `sg.tl.project` onto the embedding of the "
            "fitted cells."
        )
    return cells
