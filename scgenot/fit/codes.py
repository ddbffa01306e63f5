"""Latent codes of measured target cells, given source cells drawn from the plan."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from anndata import AnnData
from scipy.stats import chi2

from scgenot._random import numpy_rng, torch_rng
from scgenot.cells.read import representation
from scgenot.cells.tasks.observed import Observed, observed
from scgenot.fit.evaluation.fitted import choose_links
from scgenot.fit.held_out import warn_if_among
from scgenot.fit.sample import require_method
from scgenot.ot.plan import require


class Coded(NamedTuple):
    """Target cells of one condition: their positions, a likely source cell each, and the codes."""

    links: tuple[int, ...]  # of the condition
    rows: np.ndarray
    source_rows: np.ndarray  # positions in the fitted AnnData
    source: np.ndarray
    code: np.ndarray


def p_values(
    fit, adata: AnnData, held_out: AnnData | None = None, *, use_rep: str | None, seed: int
) -> np.ndarray:
    """Return how often the model makes a cell less likely than each measured one; NaN for others.

    The measure is the squared length of the code, chi-square under the model; with cells held out,
    how often one of these under the same condition has a longer code.
    """
    found, known = np.full(adata.n_obs, np.nan), {}
    if held_out is not None:
        for part in coded(fit, held_out, "score_cells", use_rep=use_rep, seed=seed + 1):
            known[part.links] = np.sort((part.code**2).sum(1))
        warn_if_among(
            held_out,
            np.concatenate([link.target_names for link in fit.links]),
            "that were fitted, whose codes are shorter than others. Hold cells out before the fit.",
        )
    for part in coded(fit, adata, "score_cells", use_rep=use_rep, seed=seed):
        lengths = (part.code**2).sum(1)
        if held_out is None:
            found[part.rows] = chi2.sf(lengths, part.code.shape[1])
        elif part.links in known:
            others = known[part.links]
            longer = len(others) - np.searchsorted(others, lengths)
            found[part.rows] = (1 + longer) / (1 + len(others))
    return found


def coded(
    fit, adata: AnnData, verb: str, *, use_rep: str | None = None, seed: int
) -> Iterator[Coded]:
    """Encode the target cells of each condition, each given a source cell drawn from the plan."""
    encode = require_method(fit.model, "encode", verb)
    cells, every = target_cells(fit, adata, use_rep), fit.cells(fit.adata)
    asked = observed(fit.task, adata, [link.labels for link in fit.links])
    if not asked:
        raise ValueError(
            "No cell of `adata` is a target cell of the fit: `sg.tl." + verb + "` is for cells "
            "that were measured under one of its conditions."
        )
    for k, part in enumerate(asked):
        source_rows = likely_sources(fit, cells[part.rows], every, part, verb, [seed, k])
        source, target = every[source_rows], cells[part.rows][:, : fit.model.target_dim]
        code = encode(source, target, part.condition)
        yield Coded(
            tuple(part.links), part.rows, source_rows, source, np.asarray(code, dtype=float)
        )


def likely_sources(
    fit, cells: np.ndarray, every: np.ndarray, part: Observed, verb: str, seed: list[int]
) -> np.ndarray:
    """Draw a source cell of each target cell from the plan of its stratum, given the cell."""
    rng, fitted = numpy_rng(seed), [fit.links[k] for k in part.links]
    which, out = choose_links(fitted, part.strata, rng), np.empty(len(cells), dtype=int)
    for k in np.unique(which):
        names, rows = fitted[k].names("source"), np.flatnonzero(which == k)
        place = fit.rows([part.links[k]], "source")
        plan = fitted[k].plan(every[place], np.arange(len(names)))
        given = require(plan, "transposed", f"sg.tl.{verb}")()
        drawn = given.sample(cells[rows], generator=torch_rng(rng, given.device))
        out[rows] = place[drawn[:, 0].cpu().numpy()]
    return out


def target_cells(fit, adata: AnnData, use_rep: str | None) -> np.ndarray:
    """Read measured target cells in the space of the targets, shared features after it."""
    if fit.adata is None or not fit.links:
        raise ValueError(
            "`model` has no fit, whose plans are needed to sample source cells: pass the fitted "
            "AnnData, `model=adata`."
        )
    if fit.links[0].within:
        return fit.cells(adata, use_rep=use_rep)
    if adata is fit.adata:
        raise ValueError(
            "`adata` has the source cells of the fit; its target cells are in another AnnData: "
            "pass the target cells, and the source cells as `model`."
        )
    cells, shared = fit.target_cells(adata), getattr(fit.task, "target_shared_rep", None)
    if shared is None:
        return cells
    return np.hstack([cells, representation(adata, shared, argument="shared_rep")])
