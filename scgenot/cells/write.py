"""Results into AnnData: all at once and at the end, so that a failure leaves it unchanged."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from anndata import AnnData, ImplicitModificationWarning

from scgenot.cells.keys import PARAMS, WRITTEN, Keys

ABSENT = object()


def write_slots(
    adata: AnnData,
    *,
    obs: Mapping | None = None,
    obsm: Mapping | None = None,
    obsp: Mapping | None = None,
    uns: Mapping | None = None,
    key: str | None = None,
    remove: Sequence[tuple[str, str]] = (),
) -> None:
    """Write entries of several slots, all or none.

    Parameters
    ----------
    adata
        Where to write.
    obs, obsm, obsp, uns
        Entries by name.
    key
        The fit that they are answers of: a new fit of that key removes them.
    remove
        Slot and name of older entries that go, such as `("obs", "genot_growth")`.

    Raises
    ------
    ValueError
        When an entry does not fit `adata`, which is then as it was, or would replace one that is no
        answer of the fit.
    """
    new = {
        (slot, name): values
        for slot, entries in (("obs", obs), ("obsm", obsm), ("obsp", obsp), ("uns", uns))
        for name, values in (entries or {}).items()
    }
    for _, name in new:
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"`key_added={name!r}` must be text without a slash, as in a file.")
    if key is not None and key in adata.uns:
        named = {f"{one[0]}/{one[1]}": one for one in new if not Keys(key).is_answer(*one)}
        known = set(map(str, adata.uns[key].get(WRITTEN, ())))
        for slot, name in (one for place, one in named.items() if place not in known):
            if name in getattr(adata, slot):
                raise ValueError(
                    f"`key_added={name!r}` is in {slot} and is not a result of the fit {key!r}: it "
                    "would be lost. Choose another name."
                )
        if named:
            new["uns", key] = {**adata.uns[key], WRITTEN: sorted({*known, *named})}
    before = {
        (slot, name): getattr(adata, slot).get(name, ABSENT) for slot, name in (*new, *remove)
    }
    with writing():
        try:
            for (slot, name), values in new.items():
                getattr(adata, slot)[name] = values
            for slot, name in set(remove) - set(new):
                if name in getattr(adata, slot):
                    del getattr(adata, slot)[name]
        except BaseException:
            for (slot, name), values in before.items():
                if values is not ABSENT:
                    getattr(adata, slot)[name] = values
                elif name in getattr(adata, slot):
                    del getattr(adata, slot)[name]
            raise


def is_fit(entry) -> bool:
    """Whether an entry of `uns` is that of a fit; other packages keep `params` there too."""
    params = entry.get(PARAMS) if isinstance(entry, Mapping) else None
    return isinstance(params, Mapping) and "task" in params


def fit_keys(adata: AnnData) -> set[str]:
    """Return the keys of all fits that left something in an AnnData, there or not."""
    keys = {key for key, entry in adata.uns.items() if is_fit(entry)}
    left = [(adata.uns, "_predicted"), (adata.obs, "_uncertainty"), (adata.obs, "_origin")]
    for slots, suffix in left:
        keys |= {name[: -len(suffix)] for name in map(str, slots) if name.endswith(suffix)}
    ends = [str(name)[: -len("_response")] for name in adata.obs if str(name).endswith("_response")]
    keys |= {key for key in ends if key and "/" not in key and is_predicted(adata, Keys(key))}
    return {key for key in keys if key and "/" not in key}


def is_predicted(adata: AnnData, keys: Keys) -> bool:
    """Whether states were predicted under a key; "X_pca" was not sampled by the fit "pca"."""
    mapped = keys.response in adata.obs and {keys.sample, keys.mean} <= set(adata.obsm)
    return mapped or keys.uncertainty in adata.obs  # a map writes no uncertainty


def predicted_slots(adata: AnnData, key: str) -> list[tuple[str, str]]:
    """Return slot and name of all that the verbs wrote for the fit of a key."""
    keys, entry = Keys(key), adata.uns.get(key)
    predicted = is_predicted(adata, keys)
    is_left = predicted or keys.origin in adata.obs or keys.predicted in adata.uns
    if (
        not is_fit(entry) and not is_left
    ):  # but for growth, entries of these names are of something else
        return [("obs", keys.growth)] if keys.growth in adata.obs else []
    found = [
        (slot, name)
        for slot in ("obs", "obsm", "obsp", "uns")
        for name in getattr(adata, slot)
        if keys.is_answer(slot, name)
    ]
    if not predicted:
        found = [one for one in found if one[1] not in (keys.sample, keys.mean)]
    written = entry.get(WRITTEN, ()) if is_fit(entry) else ()
    return found + [tuple(str(name).split("/", 1)) for name in written]


def check_prediction(key: str, values: Mapping[str, np.ndarray]) -> None:
    """Raise a ValueError when predicted values are not finite, before they are written."""
    for name, found in values.items():
        if name != Keys(key).cosine_variance:  # a cell that does not move has no direction
            check_finite(f"{name!r}", found)


def write_prediction(
    adata: AnnData, key: str, rows: np.ndarray, values: Mapping[str, np.ndarray], asked: Mapping
) -> None:
    """Write predicted cells to `obsm`, numbers to `obs`, what was asked to `uns`; NaN elsewhere."""
    keys, asked = Keys(key), plain(asked)
    check_prediction(key, values)
    out = {name: spread_out(found, rows, adata.n_obs) for name, found in values.items()}
    write_slots(
        adata,
        obsm={name: found for name, found in out.items() if found.ndim == 2},
        obs={name: found for name, found in out.items() if found.ndim == 1},
        uns={keys.predicted: asked} if asked else None,
        # another model may have said more of a cell
        remove=[("uns", keys.predicted), *(("obs", name) for name in keys.of_predictions)],
    )


def spread_out(values: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Return an array of `n` rows with the values at some of them and NaN elsewhere."""
    out = np.full((n, *values.shape[1:]), np.nan, dtype=values.dtype)
    out[rows] = values
    return out


def check_finite(what: str, values) -> None:
    """Raise a ValueError when some values are not finite, before anything is written."""
    n_bad = int((~np.isfinite(values)).sum())
    if n_bad:
        raise ValueError(
            f"{what} has {n_bad} of {np.size(values)} values that are NaN or infinite: nothing was "
            "written. Check the representation for extreme values, or lower the learning rate."
        )


def plain(value):
    """Turn parameters into what AnnData can hold."""
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items() if entry is not None}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, (str, bool, int, float, np.number, np.ndarray)):
        return value
    return getattr(value, "__name__", str(value))


@contextmanager
def writing():
    """Silence AnnData's note that a view becomes a copy of its own: writing results is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        yield
