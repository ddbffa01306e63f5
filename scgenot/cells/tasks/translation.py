"""AnnData into pairs: which population is linked to which; what the `fit_*` functions differ in."""

import numpy as np
from anndata import AnnData

from scgenot.cells.read import check_anndata, check_column, representation
from scgenot.pair import Pair


def by_modality(
    adata_source: AnnData,
    adata_target: AnnData,
    *,
    use_rep: str | tuple[str, str] | None = None,
    shared_rep: str | tuple[str, str] | None = None,
    source_weights: str | None = None,
    target_weights: str | None = None,
) -> Pair:
    """Pair two modalities, measured in different cells of one population."""
    check_anndata(adata_source, "adata_source")
    check_anndata(adata_target, "adata_target")
    if not adata_target.obs_names.is_unique:
        # targets are the columns of the coupling and are found again by name
        raise ValueError(
            "obs names of `adata_target` are not unique: call `adata_target.obs_names_make_unique()`."
        )
    source, target = _read(adata_source, adata_target, use_rep, "use_rep")
    source_shared, target_shared = None, None
    if shared_rep is not None:
        source_shared, target_shared = _read(adata_source, adata_target, shared_rep, "shared_rep")
        if source_shared.shape[1] != target_shared.shape[1]:
            raise ValueError(
                f"`shared_rep={shared_rep!r}` has {source_shared.shape[1]} columns in `adata_source` and "
                f"{target_shared.shape[1]} in `adata_target`: the same features in the same order are needed in both."
            )
    return Pair(
        source=source,
        target=target,
        source_shared=source_shared,
        target_shared=target_shared,
        source_weights=weights(adata_source, source_weights, "source"),
        target_weights=weights(adata_target, target_weights, "target"),
    )


def _read(
    adata_source: AnnData, adata_target: AnnData, reps: str | tuple[str, str] | None, argument: str
) -> tuple[np.ndarray, np.ndarray]:
    """One representation of each side."""
    if reps is None or isinstance(reps, str):
        reps = reps, reps
    if len(reps) != 2:
        raise ValueError(
            f"`{argument}={reps!r}` must be one key for both sides or a pair (source, target)."
        )
    return (
        representation(adata_source, reps[0], name="adata_source", argument=argument),
        representation(adata_target, reps[1], name="adata_target", argument=argument),
    )


def weights(adata: AnnData, key: str | None, side: str) -> np.ndarray | None:
    """Read a column of obs as weights of the cells; None when there is no key."""
    if key is None:
        return None
    check_column(adata, key, f"{side}_weights", f"adata_{side}")
    values = adata.obs[key]
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"`{side}_weights={key!r}` in obs of `adata_{side}` must be numbers; found {values.dtype}."
        )
    return values.to_numpy(dtype=float, na_value=np.nan)
