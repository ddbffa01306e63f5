"""Colors of cells: those stored with the labels, or a default palette; nothing is written."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex, to_rgba, to_rgba_array
from scanpy.pl import palettes

from scgenot.cells.keys import UNASSIGNED
from scgenot.cells.labels import as_text, factorize, text_of

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


def number_scale(*columns: pd.Series) -> ScalarMappable:
    """Return one color scale for the numbers of some columns."""
    values = np.concatenate([column.to_numpy(dtype=float, na_value=np.nan) for column in columns])
    return ScalarMappable(Normalize(np.nanmin(values), np.nanmax(values)), cmap="viridis")


def paint(adata: AnnData, column: str) -> tuple[np.ndarray, dict[str, str], ScalarMappable | None]:
    """Return the color of each cell by a column, and the color of each label or the scale."""
    values = adata.obs[column]
    if is_numeric(values):
        scale = number_scale(values)
        rgba = scale.to_rgba(values.to_numpy(dtype=float, na_value=np.nan))
        rgba[values.isna().to_numpy()] = to_rgba(NO_LABEL)
        return rgba, {}, scale
    colors = label_colors((adata, column))
    return label_rgba(values, colors), colors, None


def ordered_colors(labels: Sequence[str]) -> dict[str, str]:
    """Return colors that go from dark to light with the order of the labels."""
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(labels)))  # yellow is lost on white
    return {label: to_hex(color) for label, color in zip(labels, shades, strict=True)}


def colors_for(names: list[str], adata: AnnData | None, column: str | None) -> dict[str, str]:
    """Return a color for each name: that of the label in a column, or one of a palette."""
    table = pd.Categorical(names, categories=names)
    listed = AnnData(obs=pd.DataFrame({"name": table}, index=names))
    return label_colors(*([] if column is None else [(adata, column)]), (listed, "name"))
