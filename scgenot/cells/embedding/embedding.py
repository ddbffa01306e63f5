"""The embedding as an object: fitted to cells, kept in `uns`, projected to and decoded from."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._typed import check_type
from scgenot.cells.embedding.adjust import MOST_CELLS
from scgenot.cells.embedding.components import METHODS, check_options
from scgenot.cells.embedding.features import (
    Summary,
    Values,
    alike,
    check_counts,
    check_prepared,
    columns_of,
    feature_blocks,
    features_used,
    fingerprints,
    positions,
    transformed,
    unit_rows,
)
from scgenot.cells.embedding.streamed import fit_features
from scgenot.cells.embedding.topics import topics_of
from scgenot.cells.keys import EMBEDDING, PARAMS, VALUES, is_embedding
from scgenot.cells.read import check_anndata, dense, layer_label
from scgenot.cells.write import writing

SLOTS = (PARAMS, EMBEDDING, VALUES)
ARRAYS = ("features", "loadings", "offset", "scale", "idf", "totals")
STORED = (*ARRAYS, "fingerprints")
OWN = {"lsi": ["idf"], "topics": ["totals"]}  # arrays that one method has
NAMES = ("method", "n_components", "l2", "layer", "mask_var")
KINDS = dict.fromkeys(("l2", "whole", "nonnegative"), bool)
KINDS |= {"n_components": int, "largest": float, "layer": str, "mask_var": str}
N_COMPARED = 50  # cells whose coordinates are compared


@dataclass(frozen=True, eq=False)
class Embedding:
    """A linear map of transformed features, `(t(x) - offset) / scale @ loadings`, or topics.

    `features`, `offset`, `scale` and `idf` have shape `(g,)`, `loadings` `(g, n_components)`, None
    for the identity, `totals`, of topics, `(n_components,)`. `fingerprints` are of cells whose
    coordinates were adjusted; `whole`, `nonnegative` and `largest` of the values that were
    embedded; `report` is for the user. The only reader and writer of what `embed` leaves in `uns`.
    """

    key: str
    method: str
    features: np.ndarray
    n_components: int
    offset: np.ndarray | None
    loadings: np.ndarray | None = None
    scale: np.ndarray | None = None
    idf: np.ndarray | None = None
    totals: np.ndarray | None = None
    fingerprints: np.ndarray | None = None
    l2: bool = False
    layer: str | None = None
    mask_var: str | None = None
    whole: bool = True
    nonnegative: bool = False
    largest: float = np.inf
    report: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        """Refuse arrays that do not fit together, such as those of a damaged file."""
        g, k = len(self.features), self.n_components
        shapes = {"loadings": (g, k), **dict.fromkeys(("offset", "scale", "idf"), (g,))}
        shapes["totals"] = (k,)
        arrays = {name: getattr(self, name) for name in shapes if getattr(self, name) is not None}
        wrong = [name for name, array in arrays.items() if np.shape(array) != shapes[name]]
        wrong += [name for name, array in arrays.items() if not np.isfinite(array).all()]
        known = self.fingerprints
        if known is not None and (np.ndim(known) != 1 or np.asarray(known).dtype != np.uint64):
            wrong.append("fingerprints")
        own = [name for name in ("idf", "totals") if name in arrays]
        if self.method not in METHODS or own != OWN.get(self.method, []):
            wrong.append("method")
        if "loadings" not in arrays and g != k:
            wrong.append("loadings")
        if wrong:
            raise ValueError(
                f"the embedding {self.key!r} is damaged ({', '.join(wrong)}): "
                "run `sg.tl.embed` again."
            )

    @classmethod
    def fit(
        cls,
        adata: AnnData,
        *,
        method: str = "pca",
        n_components: int | None = None,
        layer: str | None = None,
        mask_var: str | np.ndarray | None = "highly_variable",
        scale: bool = False,
        l2: bool = False,
        adjust: bool = True,
        seed: int = 0,
        key: str | None = None,
    ) -> tuple[Self, np.ndarray]:
        """Embed cells; return the embedding and their coordinates."""
        check_options(adata, method, key, scale=scale)
        used = features_used(adata, mask_var)
        options = {"n_components": n_components, "seed": seed, "scale": scale}
        options["adjust"] = adjust and adata.n_obs <= MOST_CELLS
        cells, arrays, report, seen = fit_features(adata, method, layer, used, **options)
        cells = unit_rows(cells) if l2 else cells
        embedding = cls(
            key or method,
            method,
            np.asarray(adata.var_names[used], dtype=str),
            cells.shape[1],
            **arrays,
            fingerprints=fingerprints(cells) if "shrinkage" in report else None,
            l2=l2,
            layer=layer,
            mask_var=mask_var if isinstance(mask_var, str) and mask_var in adata.var else None,
            whole=seen.whole,
            # a centred log ratio may be negative
            nonnegative=method != "clr" and seen.smallest >= 0,
            largest=seen.largest,
            report=report,
        )
        return embedding, cells

    @classmethod
    def read(cls, adata: AnnData, key: str, name: str = "adata") -> Self:
        """Read the embedding of `uns[key]`, or raise a KeyError that says what to run."""
        check_anndata(adata, name)
        if not is_embedding(adata.uns.get(key)):
            found = [other for other, entry in adata.uns.items() if is_embedding(entry)]
            raise KeyError(
                f"`key={key!r}` is not an embedding of `{name}`; found {found}: "
                f"run `sg.tl.embed({name})`."
            )
        return cls.from_dict(adata.uns[key], key, name)

    @classmethod
    def from_dict(cls, entry: dict, key: str, name: str = "adata") -> Self:
        """Make what :meth:`to_dict` took apart, after a file too."""
        try:
            params, values, arrays = entry[PARAMS], entry.get(VALUES, {}), entry[EMBEDDING]
            for slot, kind in KINDS.items():
                if (found := {**values, **params}.get(slot)) is not None:
                    check_type(slot, found, kind)
            return cls(
                key=key,
                method=str(params["method"]),
                n_components=int(params["n_components"]),
                l2=bool(params["l2"]),
                layer=params.get("layer"),
                mask_var=params.get("mask_var"),
                whole=bool(values.get("whole", True)),
                nonnegative=bool(values.get("nonnegative", False)),
                largest=float(values.get("largest", np.inf)),
                report={slot: value for slot, value in entry.items() if slot not in SLOTS},
                **{array: arrays.get(array) for array in STORED},
            )
        except (AttributeError, LookupError, OverflowError, TypeError) as error:
            raise ValueError(
                f"uns[{key!r}] of `{name}` is damaged ({error!r}): run `sg.tl.embed` again."
            ) from error

    def write(
        self,
        adata: AnnData,
        key: str | None = None,
        *,
        cells: np.ndarray | None = None,
        loadings: bool = False,
    ) -> None:
        """Write to `uns[key]`; coordinates to `obsm` and loadings to `varm` where asked for."""
        key = key or self.key
        with writing():
            if cells is not None:
                adata.obsm[f"X_{key}"] = np.ascontiguousarray(cells)
            adata.uns[key] = self.to_dict()
            if loadings:
                self._write_loadings(adata, "PCs" if key == "pca" else f"{key}_loadings")

    def to_dict(self) -> dict:
        """Return the entry of `uns`."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        params = {name: known[name] for name in NAMES if name in known}
        params |= {"scale": self.scale is not None, "adjust": self.fingerprints is not None}
        return deepcopy(self.report) | {
            PARAMS: params,
            EMBEDDING: {name: np.array(known[name]) for name in STORED if name in known},
            VALUES: {name: known[name] for name in ("whole", "nonnegative", "largest")},
        }

    def _write_loadings(self, adata: AnnData, slot: str) -> None:
        """Write loadings to `varm`, 0 for features not used; those of an older embedding go."""
        adata.varm.pop(slot, None)
        if self.loadings is not None:
            out = np.zeros((adata.n_vars, self.n_components), dtype=self.loadings.dtype)
            out[adata.var_names.get_indexer(self.features)] = self.loadings
            adata.varm[slot] = out

    def project(self, adata: AnnData, layer: str | None = None) -> np.ndarray:
        """Return the coordinates of cells, found by feature name; sparse values stay sparse."""
        check_anndata(adata)
        self._check_offset()
        columns = columns_of(adata, self.features, f"`key={self.key!r}`")
        layer = self.layer if layer is None else layer
        label, cells, seen = f"{layer_label(layer)} of `adata`", [], Summary()
        for values in feature_blocks(adata, layer, columns):
            if self.method != "pca":
                check_counts(values, self.method, label)
            cells.append(self._coordinates(values, label))
            seen.add(values)
        if self.method == "pca":
            check_prepared(seen, label, whole=self.whole, largest=self.largest)
        cells = cells[0] if len(cells) == 1 else np.concatenate(cells)
        return unit_rows(cells) if self.l2 else cells

    def _coordinates(self, values: Values, label: str) -> np.ndarray:
        """Return the coordinates of features that were checked."""
        if self.method == "topics":
            return topics_of(values, self.loadings, self.totals, label)
        values = transformed(values, self.method, self.idf, label)
        scale = 1 if self.scale is None else self.scale
        if self.loadings is None:
            return (values - self.offset) / scale
        loadings = (self.loadings.T / scale).T
        return values @ loadings - self.offset @ loadings

    def decode(
        self, values: np.ndarray | pd.DataFrame, features: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the features of coordinates, `values @ loadings.T * scale + offset`."""
        if self.l2:
            raise ValueError(
                f"`key={self.key!r}` was embedded with `l2=True`, which discards lengths: decode "
                "from an embedding made with `l2=False` (give it another `key_added`)."
            )
        self._check_offset()
        names = pd.Index(self.features)
        chosen = positions(names, features, f"that `key={self.key!r}` was made of")
        index = values.index if isinstance(values, pd.DataFrame) else None
        values = dense(values, "`values`")
        if values.shape[1] != self.n_components:
            raise ValueError(
                f"`values` has shape {values.shape}, expected (n, {self.n_components}), "
                f"coordinates of `key={self.key!r}`."
            )
        if np.isinf(values).any():
            raise ValueError("`values` has infinite values: rows without a prediction are NaN.")
        decoded = values[:, chosen] if self.loadings is None else values @ self.loadings[chosen].T
        if self.scale is not None:
            decoded = decoded * self.scale[chosen]
        return pd.DataFrame(decoded + self.offset[chosen], index=index, columns=names[chosen])

    def digest(self) -> str:
        """Return a fingerprint of what makes the coordinates."""
        text = [self.method, str(bool(self.l2)), *map(str, self.features)]
        found = sha256("\n".join(text).encode())
        for name in ARRAYS[1:]:
            if getattr(self, name) is not None:
                found.update(name.encode() + np.ascontiguousarray(getattr(self, name)).tobytes())
        return found.hexdigest()

    def same_as(self, other: "Embedding") -> bool | None:
        """Say whether another embedding gives the same coordinates; None where unknown."""
        return self.digest() == other.digest()

    def holds(self, adata: AnnData, cells: np.ndarray) -> bool | None:
        """Say whether these are the coordinates that the embedding gives for the features of cells.

        None when it cannot be told: features are missing, or are not as they were embedded.
        """
        compared = np.arange(0, adata.n_obs, max(1, -(-adata.n_obs // N_COMPARED)))
        if self.fingerprints is not None:
            known = np.isin(fingerprints(cells[compared]), self.fingerprints)
            compared = compared[~known]
        if len(compared) == 0:
            return True
        try:
            expected = self.project(adata[compared])
        except (KeyError, ValueError):
            return None
        return alike(cells[compared], expected)

    def _check_offset(self) -> None:
        """Raise where the means are not known, as of some principal components of Scanpy's."""
        if self.offset is None:
            raise ValueError(
                f"{self.key!r} was made by `sc.pp.pca`, which does not store means, and they "
                "cannot be recovered from the features of `adata`: use `sg.tl.embed` instead."
            )
