"""The comparisons of a task, found by what the task is; of one's own tasks by their links."""

from collections.abc import Iterator
from copy import copy
from functools import singledispatch

import numpy as np

from scgenot.cells.read import check_anndata
from scgenot.fit.coupled import links_of
from scgenot.fit.evaluation.comparison import Grouped, read_groups, refuse_seen
from scgenot.fit.evaluation.fitted import Evaluation
from scgenot.fit.evaluation.generic import generic_comparisons
from scgenot.fit.evaluation.metrics import INDEPENDENT, POPULATIONS, Metric
from scgenot.pair import Link, Pair


@singledispatch
def offered(task) -> dict[str, Metric]:
    """Return the metrics that suit a task."""
    return {**POPULATIONS, **INDEPENDENT}


@singledispatch
def comparisons(task, asked: Evaluation) -> Iterator[Grouped]:
    """Predict the target cells of the links that a task makes of the held-out cells."""
    held_out, fit = asked.held_out, asked.fit
    check_anndata(held_out, "held_out")
    own = copy(task)  # what a task learns from its links stays that of the fit
    links = links_of(own, held_out)
    true = np.unique(np.concatenate([link.target_rows for link in links]))
    seen = np.concatenate([link.target_names for link in fit.links])
    if all(link.within for link in links):
        refuse_seen(held_out.obs_names[true], seen, in_sample=asked.in_sample)
    groups = read_groups(held_out, asked.groupby)
    yield from generic_comparisons(
        fitted_links(asked),
        links,
        asked.drawn,
        lambda cells, link: asked.coupled(same_links(fit, link), cells),
        one_space=fit.one_space,
        to_features=asked.to_features,
        groups=(groups, groups) if all(link.within for link in links) else None,
        seed=asked.seed,
        others=asked.baselines,
    )


def fitted_links(asked: Evaluation) -> list[Link]:
    """Return the fitted links with their cells, as far as they are in the fitted AnnData."""
    found = []
    for k, link in enumerate(asked.fit.links):
        sides = [asked.training[asked.fit.rows([k], "source")]]
        if link.within:
            sides.append(asked.training[asked.fit.rows([k], "target")])
        else:
            sides.append(np.asarray(link.arrays["target"]))
        found.append(Link(Pair(*sides), labels=link.labels, stratum=link.stratum))
    return found


def same_links(fit, link: Link) -> list[int]:
    """Positions of the fitted links with the labels of a held-out one, or of all."""
    same = [k for k, found in enumerate(fit.links) if found.labels == dict(link.labels)]
    return same or list(range(len(fit.links)))
