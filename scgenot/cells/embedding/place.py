"""New cells in the space of the fitted cells: one name of a representation says nothing of axes."""

from collections.abc import Mapping

import numpy as np
from anndata import AnnData

from scgenot.cells.embedding.embedding import Embedding
from scgenot.cells.embedding.features import are_whole, columns_of
from scgenot.cells.embedding.scanpy_pca import ScanpyPCA, loadings_slot
from scgenot.cells.keys import embedding_key, is_embedding
from scgenot.cells.read import layer_label, representation


def embedding_of(adata: AnnData, rep: str | None) -> Embedding | ScanpyPCA | None:
    """Return the embedding that made a representation, such as "X_pca"; None when none is known."""
    if rep in (None, "X"):
        return None
    key = embedding_key(rep)
    if is_embedding(adata.uns.get(key)):
        return Embedding.read(adata, key)
    return ScanpyPCA.of(adata, rep)


def target_embedding_of(task) -> Embedding | None:
    """Return the embedding of target cells in an AnnData of their own, as far as it decodes."""
    adata = getattr(task, "adata_target", None)
    found = None if adata is None else embedding_of(adata, task.target_rep)
    unknown = isinstance(found, ScanpyPCA) and found.offset is None
    return None if unknown else found


def place(
    adata: AnnData,
    fitted: AnnData,
    rep: str | None,
    *,
    layer: str | None = None,
    argument: str = "use_rep",
    name: str = "adata",
) -> np.ndarray:
    """Read cells in the space of the fitted cells; project those without the representation."""
    if fitted is adata or rep is None:
        return representation(adata, rep, layer=layer, argument=argument, name=name)
    if rep == "X":
        return _matched(adata, fitted, layer, argument, name)
    if rep not in adata.obsm and (embedding := embedding_of(fitted, rep)) is not None:
        return embedding.project(adata)
    cells = representation(adata, rep, layer=layer, argument=argument, name=name)
    check_same(adata, cells, fitted, rep, argument, name)
    return cells


def check_same(
    adata: AnnData,
    cells: np.ndarray,
    fitted: AnnData,
    rep: str,
    argument: str = "use_rep",
    name: str = "adata",
) -> None:
    """Raise when a representation is known not to be made as that of the fitted cells."""
    theirs = embedding_of(fitted, rep)
    if theirs is None:
        return
    ours, key = embedding_of(adata, rep), embedding_key(rep)
    compared = type(ours) is type(theirs)
    same = theirs.same_as(ours) if compared else theirs.holds(adata, cells)
    if same in (True, None):
        return
    what = f"`{argument}={rep!r}` of `{name}` is another embedding than that of the fitted cells"
    if compared and isinstance(theirs, ScanpyPCA):
        raise ValueError(
            f"{what}: the loadings in `varm[{loadings_slot(rep)!r}]` differ. Run `sg.tl.embed` in "
            f"place of `sc.pp.pca` on the cells of the fit, fit again, and remove `obsm[{rep!r}]` "
            "of the new cells: they are then placed in that embedding."
        )
    why = (
        "its features, offsets or loadings differ"
        if compared
        else "its coordinates are not those that the embedding of the fitted cells gives for the "
        "features of these cells"
    )
    raise ValueError(
        f"{what}: {why}. Remove `obsm[{rep!r}]` of the new cells, which are then placed in that of "
        f"the fitted cells, or call `sg.tl.project({name}, fitted, key={key!r})`."
    )


def check_one_space(given: Mapping[str, AnnData], rep: str) -> None:
    """Raise when the first of several AnnData and another are known to be in different spaces."""
    (first, known), *others = given.items()
    theirs = embedding_of(known, rep)
    for name, adata in others:
        if rep == "X" and not adata.var_names.equals(known.var_names):
            raise ValueError(
                f"`{name}` has other features than `{first}`, or the same in another order: pass "
                f"`{name}[:, {first}.var_names]`."
            )
        ours = embedding_of(adata, rep)
        if theirs is None or type(ours) is not type(theirs) or theirs.same_as(ours) is not False:
            continue
        raise ValueError(
            f"{rep!r} of `{name}` is another embedding than that of `{first}`: remove it, and call "
            f"`sg.tl.project({name}, {first}, key={embedding_key(rep)!r})` after `sg.tl.embed`."
        )


def _matched(
    adata: AnnData, fitted: AnnData, layer: str | None, argument: str, name: str
) -> np.ndarray:
    """Read the features of the fitted cells, by name and in their order."""
    columns = columns_of(adata, fitted.var_names, "the fit")
    values = representation(adata[:, columns], "X", layer=layer, argument=argument, name=name)
    if are_whole(values) and not are_whole(representation(fitted, "X", layer=layer)):
        raise ValueError(
            f"`{name}` holds whole numbers, such as raw counts, and the model was fitted with "
            f"values that are not: prepare {layer_label(layer)} as that of the fitted cells."
        )
    return values
