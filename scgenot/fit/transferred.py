"""Labels of a reference, transferred to other cells by a coupling."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._warn import warn_user
from scgenot.cells.embedding import place
from scgenot.cells.keys import UNASSIGNED
from scgenot.cells.labels import texts_of
from scgenot.cells.read import named_rep, representation
from scgenot.cells.write import plain
from scgenot.fit.coupled import checked_plan
from scgenot.fit.defaults import refuse_class
from scgenot.fit.storage import described
from scgenot.ot import Neighbors, Sinkhorn
from scgenot.ot.diagnostics import describe
from scgenot.ot.partial import NothingMatched
from scgenot.ot.plan import require
from scgenot.pair import Pair

DEFAULT = Neighbors()
# where both sides are apart as a whole. Decided on cells of `citeseq_pbmc10k`, one cell type at a
# time left out of the reference: at lower prices cells with a counterpart are left behind, at
# higher ones cells without are not
APART = Sinkhorn(epsilon=0.05, price=0.25)
# matched share of the query mass below which cells are matched by distance
ENOUGH = 0.5


def read_pair(query: AnnData, reference: AnnData, use_rep: str | Sequence[str] | None) -> Pair:
    """Read both sides, in the space of the reference unless each has a representation named."""
    if use_rep is None or isinstance(use_rep, str):
        rep = named_rep(reference, use_rep, None, "reference")
        target = representation(reference, rep, name="reference")
        source = place(query, reference, rep, name="query")
    elif len(use_rep) == 2:
        sides = ("query", query), ("reference", reference)
        source, target = (
            representation(side, rep, name=name)
            for (name, side), rep in zip(sides, use_rep, strict=True)
        )
    else:
        raise ValueError(
            f"`use_rep={use_rep!r}` must be one key for both sides or a pair (query, reference)."
        )
    return Pair(source, target, name="query to reference")


def couple(pair: Pair, solver, *, device: str | None, seed: int):
    """Couple query cells to reference cells."""
    if solver is None:
        solver = replace(DEFAULT, device=device)
        plan = solver(pair)
        if (kept := plan.diagnostics.mass) >= ENOUGH:
            return plan, told(plan, solver)
        warn_user(
            f"Only {kept:.0%} of the query cells lie among reference cells, possibly because of a "
            "batch effect or because the reference lacks most types. Cells are matched by distance "
            "instead, `solver=sg.ot.Sinkhorn(epsilon=0.05, price=0.25)`. Correct batch effects, or "
            "pass a `solver`; `sg.ot.Neighbors()` leaves the other cells unassigned."
        )
        solver = replace(APART, device=device, rng=seed % 2**31)
        plan = by_distance(pair, solver)
        return plan, told(plan, solver)
    refuse_class("solver", solver)
    if not callable(solver):
        raise TypeError(
            f"`solver={solver!r}` must turn a pair into a coupling, such as "
            "`sg.ot.Sinkhorn(keep=0.9)`."
        )
    plan = checked_plan(solver(pair), solver)
    return plan, told(plan, solver)


def by_distance(pair: Pair, solver: Sinkhorn):
    """Couple cells that lie apart as a whole."""
    try:
        return solver(pair)
    except NothingMatched as error:
        raise ValueError(
            "No query cell has a counterpart in `reference`: they lie further apart than cells of "
            "one population. Check that both are in the same embedding and units, "
            "such as after `sg.tl.project(query, reference)`; to match them all the same, pass "
            "`solver=sg.ot.Sinkhorn(keep=0.5)`."
        ) from error


def check_key(query: AnnData, key: str | None) -> None:
    """Refuse a name under which the query holds anything but the result of a transfer."""
    if key is None or "diagnostics" in (query.uns.get(key) or ()):
        return
    taken = [slot for slot in ("obs", "obsm", "uns") if key in getattr(query, slot)]
    if taken:
        raise ValueError(
            f"`key_added={key!r}` is in {taken[0]} of `query` and is not the result of a transfer: "
            "it would be lost. Choose another name."
        )


def told(plan, solver) -> dict:
    """Return what is stored of how a plan was found."""
    return plain({"solver": described(solver), "diagnostics": describe(plan)})


def carry_to_query(plan, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return values of the targets in the mean, and the shares of source cells that are kept."""
    means = require(plan, "barycenter", "sg.tl.transfer")(values=values)
    kept = plan.kept() if hasattr(plan, "kept") else None
    found = np.asarray(means.cpu(), dtype=float)
    return found, None if kept is None else np.asarray(kept[0].cpu(), dtype=float)


def probabilities(
    found: np.ndarray, labels: pd.Index, kept: np.ndarray | None, names: pd.Index
) -> pd.DataFrame:
    """Return the probability of each label, and of being unassigned, in each cell."""
    total = found.sum(axis=1, keepdims=True)
    shares = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    table = pd.DataFrame(shares, index=names, columns=texts_of(labels))
    if kept is not None:
        table = table.mul(kept, axis=0)
        left = 1 - kept
        # a reference may have cells that are unassigned themselves
        table[UNASSIGNED] = table[UNASSIGNED] + left if UNASSIGNED in table else left
    return table
