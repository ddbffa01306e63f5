"""A translation: two modalities, measured in different cells of one population."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from anndata import AnnData

from scgenot.cells.read import check_anndata, check_column, check_unique, named_rep, representation
from scgenot.cells.tasks.task import refuse_dose
from scgenot.pair import Link, Pair, Question

STORED = (
    *("use_rep", "target_rep", "shared_rep", "target_shared_rep"),
    *("source_weights", "target_weights"),
)


@dataclass
class Translation:
    """Cells of one modality and cells of another, not paired.

    Parameters
    ----------
    adata_target
        Target cells; None after reading a file.
    use_rep, target_rep
        Representation of the source and of the target cells; None for the first usual one.
    shared_rep, target_shared_rep
        Features that both modalities share; None for none.
    source_weights, target_weights
        Columns of obs; None for uniform weights.

    See Also
    --------
    scgenot.tl.fit_translation : fits it.
    """

    adata_target: AnnData | None = field(default=None, repr=False)
    use_rep: str | None = None
    target_rep: str | None = None
    shared_rep: str | None = None
    target_shared_rep: str | None = None
    source_weights: str | None = None
    target_weights: str | None = None

    name = "translation"
    argument = "adata_source"
    made_by = "fit_translation"
    layer = None
    one_space = False
    weights_are_growth = False
    learning = {}  # noqa: RUF012

    def links(self, adata: AnnData) -> list[Link]:
        """Pair the two modalities."""
        check_anndata(adata, "adata_source")
        check_anndata(self.adata_target, "adata_target")
        # targets are the columns of the coupling and are found again by name
        check_unique(self.adata_target, "obs", "adata_target")
        sides = {"adata_source": adata, "adata_target": self.adata_target}
        self.use_rep = named_rep(adata, self.use_rep, None, "adata_source")
        self.target_rep = named_rep(self.adata_target, self.target_rep, None, "adata_target")
        source, target = self._read(sides, (self.use_rep, self.target_rep), "use_rep")
        shared = None, None
        if self.shared_rep is not None:
            reps = self.shared_rep, self.target_shared_rep
            shared = self._read(sides, reps, "shared_rep")
            if shared[0].shape[1] != shared[1].shape[1]:
                raise ValueError(
                    f"`shared_rep={reps!r}` has {shared[0].shape[1]} columns in `adata_source` and "
                    f"{shared[1].shape[1]} in `adata_target`: both need the same features in the "
                    "same order."
                )
        pair = Pair(
            source=source,
            target=target,
            source_shared=shared[0],
            target_shared=shared[1],
            source_weights=self.weights(adata),
            target_weights=read_weights(self.adata_target, self.target_weights, "target"),
        )
        rows = np.arange(adata.n_obs), np.arange(self.adata_target.n_obs)
        return [Link(pair, *rows, within=False)]

    @staticmethod
    def _read(sides: dict[str, AnnData], reps: tuple, argument: str) -> tuple:
        """Read one representation of each side."""
        return tuple(
            representation(side, rep, name=name, argument=argument)
            for (name, side), rep in zip(sides.items(), reps, strict=True)
        )

    def weights(self, adata: AnnData) -> np.ndarray | None:
        """Weights of source cells, None for uniform ones."""
        return read_weights(adata, self.source_weights, "source")

    def ask(self, adata: AnnData, target=None, *, dose: float | None = None) -> Question:
        """Ask every cell for the other modality."""
        refuse_dose(dose, self)
        if target is not None:
            raise ValueError(f"`target={target!r}` was given, but a translation has one target.")
        return Question(np.arange(adata.n_obs))

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        return {name: getattr(self, name) for name in STORED}

    @classmethod
    def from_dict(cls, stored: dict) -> "Translation":
        """Make what :meth:`to_dict` took apart, after a file too."""
        return cls(**{name: stored.get(name) for name in STORED})


def two_sides(source, target, target_modality: str | None) -> tuple[AnnData, AnnData]:
    """Return both sides: two AnnData, or two modalities of a MuData, by name."""
    modalities = getattr(source, "mod", None)  # MuData is not imported for this
    if isinstance(modalities, Mapping) and isinstance(target, str):
        for argument, name in (("adata_target", target), ("target_modality", target_modality)):
            if name not in modalities:
                raise KeyError(
                    f"`{argument}={name!r}` is not a modality of `adata_source`; found "
                    f"{list(modalities)}: name two, as in fit_translation(mdata, 'rna', 'atac')."
                )
        return modalities[target], modalities[target_modality]
    check_anndata(source, "adata_source")
    check_anndata(target, "adata_target")
    if target_modality is not None:
        raise TypeError(
            f"`target_modality={target_modality!r}` is for a MuData and the name of its source "
            "modality; found two AnnData."
        )
    return source, target


def two_reps(reps: str | tuple[str, str] | None, argument: str) -> tuple[str | None, str | None]:
    """Return one representation of each side from one key for both or a pair of keys."""
    if reps is None or isinstance(reps, str):
        return reps, reps
    if len(reps) != 2:
        raise ValueError(
            f"`{argument}={reps!r}` must be one key for both sides or a pair (source, target)."
        )
    return tuple(reps)


def read_weights(adata: AnnData, key: str | None, side: str) -> np.ndarray | None:
    """Read a column of obs as weights of the cells; None when there is no key."""
    if key is None:
        return None
    check_column(adata, key, f"{side}_weights", f"adata_{side}")
    values = adata.obs[key]
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"`{side}_weights={key!r}` in obs of `adata_{side}` must be numbers; found "
            f"{values.dtype}."
        )
    return values.to_numpy(dtype=float, na_value=np.nan)
