"""A perturbation screen: control cells to the treated cells of one condition and stratum."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._warn import warn_user
from scgenot.cells.embedding import read_slot
from scgenot.cells.labels import factorize, text_of
from scgenot.cells.read import check_unique, named_rep, representation
from scgenot.cells.strata import Strata, check_list, stratum_text
from scgenot.cells.tasks.conditions import Conditions, same_dose
from scgenot.cells.tasks.learning import screen_learning
from scgenot.cells.tasks.names import Names
from scgenot.cells.tasks.task import refuse_dose
from scgenot.cells.tasks.treatments import (
    Treatments,
    condition_name,
    dose_values,
    read_treatments,
    shared_values,
    vocabulary,
)
from scgenot.pair import Link, Pair, Question


@dataclass
class Screen:
    """Control cells and cells under perturbations, doses and combinations.

    Parameters
    ----------
    perturbation_key, control, use_rep, layer, adjust, dose_key, embedding, separator, covariates
        As in :func:`scgenot.tl.fit_perturbation`.
    network_covariates
        As in :func:`scgenot.tl.fit_perturbation`.
    conditions, n_cells
        Vocabulary and number of cells of the fit, set by `links`.

    See Also
    --------
    scgenot.tl.fit_perturbation : fits it.
    """

    perturbation_key: str
    control: Hashable | None
    use_rep: str | None = None
    layer: str | None = None
    adjust: bool = True
    dose_key: str | None = None
    embedding: pd.DataFrame | None = field(default=None, repr=False)
    separator: str | None = "+"
    covariates: Sequence[str] = ()
    network_covariates: Sequence[str] = ()
    conditions: Conditions | None = None
    n_cells: int = field(default=0, init=False)

    name = "perturbation"
    made_by = "fit_perturbation"
    one_space = True
    weights_are_growth = False
    # smaller couples types and donors that differ little less with one another
    epsilon = 0.02
    other_epsilon = 0.005  # carries more of what a donor has of its own along

    @property
    def learning(self) -> dict:
        """Defaults of the learner."""
        return screen_learning(self)

    @property
    def slots(self) -> tuple[int, int]:
        """Sizes of the network's set encoder: slots, and columns of a token."""
        return self.conditions.n_slots, self.conditions.tokens.shape[1]

    def links(self, adata: AnnData) -> list[Link]:
        """Pair the control cells with those of each perturbation and dose."""
        check_list(self.covariates, "covariates")
        check_list(self.network_covariates, "network_covariates")
        self.conditions = None
        read = self.read(adata)
        check_unique(adata, "obs")
        self.use_rep = named_rep(adata, self.use_rep, self.layer)
        slot = read_slot(adata, self, self.use_rep)
        self.adjust = slot != self.use_rep
        cells = representation(adata, slot, layer=self.layer)
        Strata.read(adata, self.told, argument="network_covariates")  # errors under their name
        strata = Strata.read(adata, [*self.covariates, *self.told])
        groups, left_out = read.groups()
        parts = {}
        for (name, dose), treated in groups.items():
            source = strata.shared(read.control_rows, treated)
            parts[name, dose] = source, treated, strata.split(source, treated)
        named = {condition_name(*one): part for one, part in parts.items()}
        strata.report(named, left_out=left_out)
        kept = [groups[one] for one, part in parts.items() if part[2]]
        self.conditions = vocabulary(self, adata, read, np.concatenate(kept))
        if read.doses is not None:
            # the control paired with itself is what tells a network where doses begin
            rows = read.control_rows
            parts[str(self.control or ""), 0.0] = rows, rows, strata.split(rows, rows)
        links = self._link(adata, cells, strata, parts)
        rows = [rows for link in links for rows in (link.source_rows, link.target_rows)]
        self.n_cells = len(np.unique(np.concatenate(rows)))
        return links

    def _link(self, adata: AnnData, cells: np.ndarray, strata: Strata, parts: dict) -> list[Link]:
        """Make one link a condition and stratum."""
        found, sources = [], {}
        for (name, dose), (_, _, split) in parts.items():
            label = condition_name(name, dose)
            for stratum, source, target in split:
                both = adata.obs[list(self.network_covariates)].iloc[np.r_[source, target]]
                where = stratum_text(stratum, strata.covariates)
                pair = Pair(
                    # one array for all pairs of the same control cells: training keeps it once
                    source=sources.setdefault(source.tobytes(), cells[source]),
                    target=cells[target],
                    condition=self.conditions.encode(name, dose, shared_values(both)),
                    name=f"{label}, {where}" if where else label,
                )
                labels = {"perturbation": name or "control"}
                labels |= {} if dose is None else {"dose": dose}
                found.append(Link(pair, source, target, labels, stratum))
        return found

    @property
    def told(self) -> list[str]:
        """Inputs of the network within which cells are not coupled otherwise."""
        return [key for key in self.network_covariates if key not in self.covariates]

    def read(self, adata: AnnData, *, held_out: bool = False) -> Treatments:
        """Read the perturbation and dose of each cell, and which are control; checked."""
        return read_treatments(self, adata, held_out=held_out)

    def names(self, column: pd.Series | None = None) -> Names:
        """How names are read: as in the fit, or as the column says before it."""
        if self.conditions is not None:
            return self.conditions.names
        rows = self.embedding.index if isinstance(self.embedding, pd.DataFrame) else ()
        return Names.read(column, self.control, self.separator, rows)

    def parts(self, name: str) -> list[str]:
        """Return the perturbations in a name, none for the control."""
        return self.conditions.parts(name)

    def are_control(self, adata: AnnData) -> np.ndarray:
        """Whether each cell is control, by name or by dose 0; not where neither is in `obs`."""
        found = np.zeros(adata.n_obs, dtype=bool)
        if self.perturbation_key in adata.obs:
            found |= self.names().are_control(adata.obs[self.perturbation_key])
        if self.dose_key is not None and self.dose_key in adata.obs:
            found |= dose_values(adata.obs[self.dose_key]) == 0
        return found

    def are_named(
        self, adata: AnnData, target: str | None = None, dose: float | None = None
    ) -> np.ndarray:
        """Whether each cell is labeled with a perturbation, however it is written, and a dose."""
        column = adata.obs[self.perturbation_key]
        found = column.notna().to_numpy() if target is None else self.names().are(column, target)
        if self.dose_key is not None:
            doses = dose_values(adata.obs[self.dose_key])
            found = found & (doses >= 0 if dose is None else same_dose(doses, dose))
        return found

    def control_rows(self, adata: AnnData) -> np.ndarray:
        """Positions of control cells; all cells where neither perturbation nor dose is there."""
        if not any(key in adata.obs for key in (self.perturbation_key, self.dose_key)):
            return np.arange(adata.n_obs)
        rows = np.flatnonzero(self.are_control(adata))
        if not len(rows):
            raise ValueError(
                f"No cell of `adata` is control ({self.control!r} in "
                f"obs[{self.perturbation_key!r}]): predictions start from control cells. To use "
                "these cells as control, remove the column."
            )
        return rows

    def treated_rows(
        self, adata: AnnData, target: str | None = None, dose: float | None = None
    ) -> np.ndarray:
        """Positions of treated cells of a perturbation and dose, None for any."""
        needed = {self.perturbation_key, self.dose_key} - {None}
        if not needed <= set(adata.obs):
            return np.empty(0, dtype=int)
        return np.flatnonzero(self.are_named(adata, target, dose) & ~self.are_control(adata))

    def ask(self, adata: AnnData, target=None, *, dose=None, rows=None) -> Question:
        """Ask the control cells, or those at `rows`, for their response to a perturbation."""
        conditions = self.conditions
        self.refuse_dose(dose)
        if target is None:
            if len(conditions.known) > 1 or conditions.n_slots > 1:
                raise ValueError(
                    f"`target` is needed: which of {conditions.known}, or a combination of them?"
                )
            target = conditions.known[0]
        self.check_target(target)
        rows = self.control_rows(adata) if rows is None else rows
        answer, label = {self.perturbation_key: target}, str(target)
        if conditions.doses is not None:
            dose = conditions.largest_dose(target) if dose is None else float(dose)
            if conditions.is_above(target, dose):
                warn_user(
                    f"`dose={dose:g}` of {target!r} is above the largest measured dose, "
                    f"{conditions.largest_dose(target):g}: the response is extrapolated."
                )
            answer[self.dose_key] = dose
            label += f"_{dose:g}"
        return Question(rows, self._encode(adata, rows, target, dose), answer, label)

    def _encode(self, adata: AnnData, rows: np.ndarray, target: str, dose) -> np.ndarray:
        """Encode a condition for each source cell, with its own covariates."""
        told = list(self.network_covariates)
        missing = [key for key in told if key not in adata.obs]
        if missing:
            raise KeyError(
                f"The network has the inputs {missing} in the fit, which obs of `adata` lacks; "
                "found "
                f"{list(adata.obs)}: add these columns."
            )
        if not told:
            encoded = self.conditions.encode(target, dose)
            return np.broadcast_to(encoded, (len(rows), len(encoded)))
        table = adata.obs.iloc[rows][told]
        self._warn_if_untold(table)
        # NaN is not equal to itself, its name is
        codes, kinds = pd.factorize(pd.MultiIndex.from_frame(table.astype(str)))
        first = [int(np.flatnonzero(codes == code)[0]) for code in range(len(kinds))]
        values = [dict(zip(told, table.iloc[row], strict=True)) for row in first]
        return np.stack([self.conditions.encode(target, dose, each) for each in values])[codes]

    def check_target(self, target) -> None:
        """Raise when a target is several, or the control of a fit that asks for no dose."""
        if isinstance(target, (list, tuple, set, np.ndarray)):
            raise TypeError(
                f"`target={target!r}` must be one perturbation: `sg.tl.simulate` takes several."
            )
        if self.conditions.doses is None:
            self.refuse_control(target, None)

    def refuse_dose(self, dose) -> None:
        """Raise a ValueError when a fit without doses is asked for one."""
        if self.conditions.doses is None:
            refuse_dose(dose, self)

    def refuse_control(self, target: str | None, dose: float | None) -> None:
        """Raise a ValueError when what is asked for is the control, whose cells are sources."""
        no_dose = dose == 0
        if no_dose or (target is not None and not self.parts(target)):
            found = f"`dose={dose}`" if no_dose else f"`target={target!r}`"
            raise ValueError(
                f"{found} is the control, from which predictions start: give a perturbation."
            )

    def measured(self, adata: AnnData) -> list[tuple[str, float | None]]:
        """Return the perturbations and doses of the treated cells there are."""
        read = self.read(adata, held_out=True)
        doses = np.full(len(read.names), None) if read.doses is None else read.doses
        return sorted(set(zip(read.names[~read.is_control], doses[~read.is_control], strict=True)))

    def _warn_if_untold(self, table: pd.DataFrame) -> None:
        """Warn of categories of the control cells that the network was never told of."""
        for key, known in self.conditions.categories.items():
            unknown = sorted(set(map(text_of, factorize(table[key])[1])) - set(known))
            if unknown:
                warn_user(
                    f"obs[{key!r}] has {unknown}, which the fit has not seen: these cells are "
                    f"predicted as cells of none of {known}."
                )

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        names = ("perturbation_key", "control", "dose_key", "use_rep", "layer", "adjust")
        return {
            **{name: getattr(self, name) for name in names},
            "covariates": list(self.covariates),
            "network_covariates": list(self.network_covariates),
            "conditions": self.conditions.to_dict(),
        }

    @classmethod
    def from_dict(cls, stored: dict) -> "Screen":
        """Make what :meth:`to_dict` took apart, after a file too."""
        conditions = Conditions.from_dict(stored["conditions"])
        names = ("use_rep", "layer", "dose_key")
        return cls(
            str(stored["perturbation_key"]),
            stored.get("control"),
            **{name: stored.get(name) for name in names},
            adjust=bool(stored.get("adjust", False)),
            separator=conditions.separator,
            covariates=tuple(map(str, stored.get("covariates", []))),
            network_covariates=tuple(map(str, stored.get("network_covariates", []))),
            conditions=conditions,
        )
