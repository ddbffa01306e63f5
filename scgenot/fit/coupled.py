"""From a task to coupled links; what a task or a solver of the user's returns is checked here."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._outcome import Outcome
from scgenot._progress import progress_bar
from scgenot.cells.strata import stratum_text
from scgenot.cells.tasks.task import name_of
from scgenot.fit.making import Solver
from scgenot.model.growth import growth_ratios
from scgenot.model.ranks import rank, shared_work
from scgenot.ot.confidence import CLEAR_MARGIN
from scgenot.ot.diagnostics import describe
from scgenot.ot.many import each_solved
from scgenot.pair import Link, Question

# how the warning of a coupling begins
PROBLEM = "Coupling of "
PAGE = "See the page 'Extending scgenot'."


def links_of(task, adata: AnnData) -> list[Link]:
    """Return the links of a task; errors of a task of the user's name it."""
    if not callable(getattr(task, "links", None)) or not callable(getattr(task, "ask", None)):
        raise TypeError(
            f"`task` must have the methods `links(adata)` and `ask(adata, target, *, dose)`; found "
            f"{type(task).__name__}. {PAGE}"
        )
    links = list(task.links(adata))
    if not links or not all(isinstance(link, Link) for link in links):
        found = sorted({type(link).__name__ for link in links}) or "none"
        raise TypeError(
            f"`links` of the task {name_of(task)!r} must return a list of `sg.Link`; "
            f"found {found}. {PAGE}"
        )
    return [with_rows(link, task) for link in links]


def with_rows(link: Link, task) -> Link:
    """Check that a link names a cell of AnnData for each of its rows."""
    for side in ("source", "target"):
        rows, n = getattr(link, f"{side}_rows"), len(getattr(link.pair, side))
        if rows is None or len(rows) != n:
            found = "None" if rows is None else f"{len(rows)} rows"
            raise ValueError(
                f"`{side}_rows` of the link {link.pair.name!r} of the task {name_of(task)!r} must "
                f"be the positions of its {n} cells in AnnData; found {found}."
            )
    return replace(
        link, source_rows=np.asarray(link.source_rows), target_rows=np.asarray(link.target_rows)
    )


def couple(links: Sequence[Link], solver: Solver, *, progress: bool) -> list[Link]:
    """Solve each link, divided between processes; many of them with a progress bar."""
    if hasattr(solver, "progress"):
        solver = replace(solver, progress=progress)
    said, shown = {}, progress and len(links) > 1 and not rank()
    with progress_bar(total=len(links), desc="coupling", unit="pair", shown=shown) as bar:

        def solve(links: Sequence[Link]) -> list:
            plans = [None] * len(links)
            solved = each_solved(solver, [link.pair for link in links])
            for _ in links:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    position, plan = next(solved)
                for one in caught:
                    if not str(one.message).startswith(PROBLEM):  # told once the fit is written
                        found = said.setdefault((one.category, str(one.message)), [])
                        found.append((links[position].pair.name, one))
                bar.update()
                check_mass(plan, solver, links[position].pair.name)
                plans[position] = checked_plan(plan, solver)
            return plans

        plans = shared_work(solve, links)
    for found in said.values():
        warn_once(found)
    return [replace(link, plan=plan) for link, plan in zip(links, plans, strict=True)]


def warn_once(found: Sequence[tuple[str, warnings.WarningMessage]]) -> None:
    """Give the first of several warnings of one kind, and name the pairs of the others."""
    names, first = list(dict.fromkeys(name for name, _ in found)), found[0][1]
    text, others = str(first.message), [*names[1:6], *(["..."] if len(names) > 6 else [])]
    if others:
        text += f" This is of the pair {names[0]}; warned of too: {'; '.join(others)}."
    # where the solver was called from the user's code is known to the warning
    warnings.warn_explicit(text, first.category, first.filename, first.lineno)


def checked_plan(plan, solver):
    """Check that a solver returned something that pairs can be drawn from."""
    if not callable(getattr(plan, "sample_pairs", None)):
        name = getattr(solver, "__name__", type(solver).__name__)
        raise TypeError(
            f"`solver={name}` must return a plan with `sample_pairs(n_pairs, *, generator)`; found "
            f"{type(plan).__name__}. {PAGE}"
        )
    return plan


def check_mass(plan, solver, name: str) -> None:
    """Check that a plan matches some cells of a pair, by what it says of itself."""
    if getattr(getattr(plan, "diagnostics", None), "mass", None) == 0:
        raise ValueError(
            f"`solver={type(solver).__name__}` matches no cell of the pair {name!r}: no target "
            "cell is among the source cells, possibly because of a batch effect. Match cells by "
            "distance, `solver=sg.ot.Sinkhorn(price=0.25)`, or raise `n_neighbors`."
        )


def check_question(question: Question, adata: AnnData, task) -> Question:
    """Check what `ask` of a task returned."""
    if not isinstance(question, Question):
        raise TypeError(
            f"`ask` of the task {name_of(task)!r} must return a `sg.Question`; found "
            f"{type(question).__name__}. {PAGE}"
        )
    rows = np.asarray(question.rows)
    if rows.dtype.kind not in "iu" or (
        len(rows) and not 0 <= rows.min() <= rows.max() < adata.n_obs
    ):
        raise ValueError(
            f"`rows` of the question of the task {name_of(task)!r} must be positions of the "
            f"{adata.n_obs} cells; found {rows.dtype} up to {rows.max() if len(rows) else None}."
        )
    if question.condition is None:
        return question
    condition = np.asarray(question.condition, dtype=float)
    if condition.ndim == 1:
        condition = np.broadcast_to(condition, (len(rows), len(condition)))
    return replace(question, rows=rows, condition=condition)


def link_table(links: Sequence[Link], task) -> pd.DataFrame:
    """Return one row a link: what it is, its sizes and how its plan was solved."""
    rows = [
        {
            "name": link.pair.name,
            **link.labels,
            "stratum": stratum_text(link.stratum, getattr(task, "covariates", ())),
            "n_source": len(link.pair.source),
            "n_target": len(link.pair.target),
            **describe(link.plan),
        }
        for link in links
    ]
    table = pd.DataFrame(rows)
    if table["converged"].isna().any():  # plans that say nothing of it
        table["converged"] = table["converged"].astype("boolean")
    return table.set_axis(table.index.astype(str))


def outcomes_of(links: Sequence[Link], learned: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Return each way in which a coupling or the training ended, once."""
    found = []
    for link in links:
        found += getattr(getattr(link.plan, "diagnostics", None), "outcomes", ())
    return tuple(dict.fromkeys([*found, *learned]))


def growth_of(n: int, links: Sequence[Link], task) -> np.ndarray | None:
    """Return the mass that each source cell sends, of 1 in the mean cell; NaN for others."""
    if not getattr(task, "weights_are_growth", False):
        return None
    growth, known = np.full(n, np.nan), False
    for link in reversed(links):
        ratios = growth_ratios(link.plan, link.pair, weights_are_growth=True)
        known |= ratios is not None
        growth[link.source_rows] = 1 if ratios is None else ratios[0].numpy()
    return growth if known else None


def problems_of(table: pd.DataFrame, confidence: dict | None) -> list[str]:
    """Return what is wrong with the couplings of a fit, a sentence for each kind of problem."""
    found, ends = [], table["outcome"].str.split(", ")
    for outcome in Outcome:
        names = table["name"][[outcome.label in each for each in ends]]
        if not outcome.is_problem or not len(names):
            continue
        if outcome is Outcome.AMBIGUOUS:
            found.append(ambiguous_text(confidence))
            continue
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        found.append(f"{len(names)} of {len(table)} couplings ({shown}): {outcome.sentence}")
    return found


def ambiguous_text(confidence: dict) -> str:
    """Say how near-equal optima of a search disagree, and what to try."""
    return (
        "The match between the two modalities is ambiguous: its margin is "
        f"{confidence['margin']:.2f} (clear from {CLEAR_MARGIN}), the objective of the next "
        f"distinct solution is {100 * confidence['gap']:.1f} % higher, {confidence['n_best']} of "
        f"{confidence['n_starts']} starts reach the best one, and two subsets of the cells agree "
        f"with correlation {confidence['agreement']:.2f}. The whole translation may be wrong. "
        "Try features shared by both (`shared_rep`), another representation (`use_rep`, for "
        "example proteins scaled to one variance), another intra-cost, or more starts "
        "(`solver=sg.ot.GromovWasserstein(n_starts=200, search_cells=2000)`)."
    )
