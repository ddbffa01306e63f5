"""Labels of cells: compared as text, returned as the values that their column holds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.keys import SOURCE_CELL, Keys
from scgenot.cells.write import fit_keys, predicted_slots

# dtypes that hold missing values, by kind; others hold them already
NULLABLE = {"b": "boolean", "i": "Int64", "u": "UInt64"}


def factorize(column: pd.Series | Sequence) -> tuple[np.ndarray, pd.Index]:
    """Return the position of each label among the different ones, -1 where missing, and those."""
    column = pd.Series(column)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        return column.cat.codes.to_numpy(dtype=np.intp), column.cat.categories
    try:
        codes, found = pd.factorize(column, sort=True)
    except TypeError:  # labels of several types have no order
        codes, found = pd.factorize(column)
    return codes, pd.Index(found)


def text_of(label) -> str:
    """Return a label as text; 3 and 3.0 read the same."""
    if isinstance(label, (float, np.floating)) and float(label).is_integer() and abs(label) < 1e15:
        return str(int(label))
    return str(label)


def texts_of(labels: pd.Index) -> list[str]:
    """Return different labels as text; NumPy keeps single precision, whose text is shorter."""
    return list(map(text_of, labels.to_numpy()))


def as_text(column: pd.Series | Sequence) -> np.ndarray:
    """Return labels as text, so that 1, 1.0 and "1" are equal; None where missing."""
    codes, found = factorize(column)
    return np.array([*texts_of(found), None], dtype=object)[codes]


def like_column(values: Sequence, column: pd.Series):
    """Return values as a column of obs holds them.

    Parameters
    ----------
    values
        Labels, shape `(n,)`, as text or as numbers; None or NaN where there is none.
    column
        The column that the values will stand beside, after :func:`anndata.concat`.

    Returns
    -------
    An array or a categorical of shape `(n,)`. A label of the column is the column's own value; one
    that is new is cast to the dtype of the column, or, where that cannot hold it, the dtype becomes
    wider: `float64` for 8.5 beside integers. Categories stay, new ones come last; a new number
    among ordered categories makes a column of numbers, as AnnData cannot write others together.

    Examples
    --------
    >>> like_column(["2", "2"], pd.Series([0, 2]))
    array([2, 2])
    """
    codes, found = pd.factorize(pd.Series(list(values), dtype=object))
    _, own = factorize(column)
    by_text = dict(zip(texts_of(own), own, strict=True))
    labels = [by_text.get(text_of(label), label) for label in found]
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    known = column.cat.categories if is_category else own
    held = _hold(labels, known.dtype if is_category else column.dtype)
    if not is_category:
        if (codes < 0).any() and held.dtype.kind in NULLABLE:
            held = pd.array(held, dtype=NULLABLE[held.dtype.kind])
        return pd.api.extensions.take(held, codes, allow_fill=True)
    if held.dtype.kind == "O" and known.dtype.kind in "biuf":
        known = known.map(text_of)
    held = pd.Index(held)
    new = held[~held.isin(known)]
    if column.cat.ordered and len(new) and held.dtype.kind in "iuf":
        return pd.api.extensions.take(held.to_numpy(dtype=float), codes, allow_fill=True)
    categories = known.append(new) if len(new) else known
    codes = np.append(categories.get_indexer(held), -1)[codes]
    return pd.Categorical.from_codes(codes, categories, ordered=column.cat.ordered)


def _hold(labels: list, dtype):
    """Return labels in a dtype, or in the next wider one that holds them; text in the end."""
    kind, texts = dtype.kind, [text_of(label) for label in labels]
    if kind == "b" and all(isinstance(label, (bool, np.bool_)) for label in labels):
        return pd.Series(labels, dtype=dtype).values
    if isinstance(dtype, pd.StringDtype):
        return pd.array(texts, dtype=dtype)
    numbers = [np.dtype("int64"), np.dtype("float64")] if kind in "iuf" else []
    for wider in [dtype, *numbers] if kind in "iufmM" else []:
        try:
            return pd.Series(labels, dtype=wider).values
        except (TypeError, ValueError, OverflowError):
            continue
    return np.array(texts, dtype=object)


def made_obs(
    adata: AnnData,
    rows: np.ndarray,
    answer: Mapping[str, object],
    names: Sequence[str],
    *,
    key: str,
    origin: str,
) -> pd.DataFrame:
    """Return the obs of cells that were made from others.

    Parameters
    ----------
    adata
        Cells of which the new ones were made.
    rows
        Position of the source of each new cell, shape `(n,)`.
    answer
        What the new cells are: values by column, one for all or shape `(n,)`.
    names
        Names of the new cells, shape `(n,)`.
    key
        The `key_added` of the fit that made them.
    origin
        How they were made: "simulated", "interpolated" or "counterfactual".

    Returns
    -------
    The obs of the sources without what any fit predicted of them, the answer as the columns of
    `adata` hold it, the names of the sources and the origin.
    """
    keys = {key, *fit_keys(adata)}
    predicted = {
        name for one in keys for slot, name in predicted_slots(adata, one) if slot == "obs"
    }
    predicted |= {Keys(one).origin for one in keys}
    obs = adata.obs.drop(columns=predicted & set(adata.obs)).iloc[rows].copy()
    obs[SOURCE_CELL] = adata.obs_names[rows].to_numpy(dtype=object)
    for column, value in answer.items():
        values = np.broadcast_to(np.asarray(value, dtype=object), len(rows))
        if column in adata.obs:
            obs[column] = like_column(values, adata.obs[column])
        else:
            obs[column] = pd.Series(values).infer_objects().to_numpy()
    obs[Keys(key).origin] = pd.Categorical([origin] * len(rows))
    for column in obs.columns[[isinstance(dtype, pd.CategoricalDtype) for dtype in obs.dtypes]]:
        # ordered numbers with other categories than those of `adata` could not be written together
        if not obs[column].cat.ordered:
            obs[column] = obs[column].cat.remove_unused_categories()
    # an index with the name of a column that differs from it cannot be written
    return obs.set_axis(pd.Index(list(map(str, names)), dtype=object), axis=0)
