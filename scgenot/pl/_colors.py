"""Colors of cells: those stored with the labels, or a default palette; nothing is written."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex, to_rgba, to_rgba_array
from scanpy.pl import palettes

from scgenot.cells.keys import UNASSIGNED
from scgenot.cells.labels import as_text, factorize, text_of
from scgenot.cells.read import dense

NO_LABEL = "lightgray"
# for the color-blind too
CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR = "#999999", "#D55E00", "#0072B2"


def is_numeric(column: pd.Series) -> bool:
    """Return whether a column is drawn on a color scale, not with one color per label."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def labels_of(column: pd.Series) -> list[str]:
    """Return labels as text, in the order of the categories or sorted."""
    # categories without cells too: stored colors are one for each
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    return list(map(text_of, column.cat.categories if is_category else factorize(column)[1]))


def label_colors(*columns: tuple[AnnData, str]) -> dict[str, str]:
    """Return a color for each label of some columns of obs, the same for the same label."""
    labels: dict[str, None] = {}
    stored: dict[str, str] = {}
    for adata, column in columns:
        names = labels_of(adata.obs[column])
        labels |= dict.fromkeys(names)
        colors = [str(color) for color in adata.uns.get(f"{column}_colors", [])]
        if len(colors) == len(names):
            stored = dict(zip(names, colors, strict=True)) | stored
    sizes = (palettes.default_20, palettes.default_28, palettes.default_102)
    palette = next(
        (palette for palette in sizes if len(labels) <= len(palette)), palettes.default_102
    )
    taken = {to_rgba(color) for color in stored.values()}
    free = iter([color for color in palette if to_rgba(color) not in taken])
    colors = {UNASSIGNED: NO_LABEL} | stored
    return {label: colors.get(label) or next(free, NO_LABEL) for label in labels}


def label_rgba(column: pd.Series, colors: dict[str, str]) -> np.ndarray:
    """Return the color of each cell, shape `(n, 4)`."""
    return to_rgba_array([colors.get(label, NO_LABEL) for label in as_text(column)])


def color_values(
    adata: AnnData, color: str, argument: str = "color", name: str = "adata"
) -> pd.Series:
    """Return a column of obs, or the values of a gene: those of `raw`, as in Scanpy, else of X."""
    if color in adata.obs:
        return adata.obs[color]
    for genes in (adata.raw, adata):
        if genes is not None and color in genes.var_names:
            values = dense(genes[:, [color]].X, f"{color!r} of `{name}`").ravel()
            return pd.Series(values, adata.obs_names, name=color)
    raise KeyError(
        f"`{argument}={color!r}` is not in obs of `{name}`; found {list(adata.obs)}, and no gene "
        "has this name."
    )


def has_color(adata: AnnData, color: str) -> bool:
    """Return whether a name is a column of obs or a gene."""
    raw = () if adata.raw is None else adata.raw.var_names
    return color in adata.obs or color in adata.var_names or color in raw


def number_scale(*columns: pd.Series) -> ScalarMappable:
    """Return one color scale for the numbers of some columns."""
    values = np.concatenate([column.to_numpy(dtype=float, na_value=np.nan) for column in columns])
    return ScalarMappable(Normalize(np.nanmin(values), np.nanmax(values)), cmap="viridis")


def paint(adata: AnnData, column: str) -> tuple[np.ndarray, dict[str, str], ScalarMappable | None]:
    """Return the color of each cell by a column or gene, and that of each label or the scale."""
    values = color_values(adata, column)
    if is_numeric(values):
        scale = number_scale(values)
        rgba = scale.to_rgba(values.to_numpy(dtype=float, na_value=np.nan))
        rgba[values.isna().to_numpy()] = to_rgba(NO_LABEL)
        return rgba, {}, scale
    colors = label_colors((adata, column))
    return label_rgba(values, colors), colors, None


def ordered_colors(labels: Sequence[str], stored: Sequence[str] = ()) -> dict[str, str]:
    """Return the stored colors, or those from dark to light with the order of the labels."""
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(labels)))  # yellow is lost on white
    shades = stored if len(stored) == len(labels) else map(to_hex, shades)
    return dict(zip(labels, map(str, shades), strict=True))


def colors_for(
    names: list[str],
    adata: AnnData | None = None,
    column: str | None = None,
    *,
    labels: Sequence[str] = (),
    stored: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return a color for each name, that of the label in a column wherever there is one.

    The column may be described by all of its `labels` and the `stored` colors of some of them.
    """
    every = list(dict.fromkeys([*labels, *names]))
    table = pd.Categorical(every, categories=every)
    listed = AnnData(obs=pd.DataFrame({"name": table}, index=every))
    found = label_colors(*([] if column is None else [(adata, column)]), (listed, "name"))
    return {name: (stored or {}).get(name, found[name]) for name in names}


def column_with(adata: AnnData, names: Sequence[str]) -> str | None:
    """Return the column of obs that has these labels, one with stored colors if there is one."""
    columns = adata.obs.select_dtypes(["category", "object", "string"])
    found = [column for column in columns if set(names) <= set(labels_of(columns[column]))]
    return min(found, key=lambda column: f"{column}_colors" not in adata.uns, default=None)
