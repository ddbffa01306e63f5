"""Short fits of all candidates to the cells of each fold, scored as `evaluate` scores."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot import metrics
from scgenot._progress import progress_bar
from scgenot._random import numpy_rng
from scgenot.fit.choice.candidates import Candidate, share_of_steps, shortened
from scgenot.fit.choice.folds import MAX_SCORED, MIN_CELLS, Fold
from scgenot.fit.chosen import BIASED, CANDIDATE, FOLDS, HEADLINE
from scgenot.fit.coupled import couple, links_of
from scgenot.fit.evaluation.comparison import BASELINE, GENOT, shuffled, split_all
from scgenot.fit.evaluation.comparisons import comparisons
from scgenot.fit.evaluation.fitted import Evaluation
from scgenot.fit.evaluation.metrics import Counts, Populations, edistance, mmd
from scgenot.fit.evaluation.scores import average, score_all
from scgenot.fit.fit import Fit

logger = logging.getLogger("scgenot")

# training cells a side between which baselines solve a plan
MAX_PLANNED = 500


def edistance_biased(cells: Populations, counts: Counts) -> np.ndarray:
    """Squared energy distance with its bias, 0 or more."""
    return metrics.energy_distance(cells.predicted, cells.true, **counts.first())


METRICS = {HEADLINE: edistance, BIASED: edistance_biased, "mmd": mmd}


@dataclass
class Scoring:
    """The candidates, how to fit them, and those that failed, with the reason."""

    task: object
    candidates: Sequence[Candidate]
    share: float
    seed: int
    device: str
    failed: dict[str, str] = field(default_factory=dict)

    def fold(self, number: int, fold: Fold, adata: AnnData, bar) -> list[dict]:
        """Score all candidates, and the baselines once, on the cells of a fold."""
        fitted, scored = part_of(adata, fold.fitted), part_of(adata, fold.scored)
        rows, coupled, baselines = [], {}, True
        for candidate in self.candidates:
            if candidate.name not in self.failed:
                try:
                    fit = self.fit(candidate, fitted, coupled)
                    rows += self.rows(candidate, fit, scored, fold, number, baselines=baselines)
                    baselines = False
                except Exception as error:  # noqa: BLE001  # a solver or learner of the user's
                    self.failed[candidate.name] = f"{type(error).__name__}: {error}"
            bar.update()
        return rows

    def fit(self, candidate: Candidate, adata: AnnData, coupled: dict) -> Fit:
        """Fit a candidate in few steps; candidates of one solver share its couplings."""
        if candidate.place not in coupled:
            task = copy(self.task)
            links = couple(links_of(task, adata), candidate.solver, progress=False)
            coupled[candidate.place] = task, links
        task, links = coupled[candidate.place]
        run = {"seed": self.seed, "device": self.device, "progress": False}
        learner = shortened(candidate.learner, self.share, task)
        own = {"solver": candidate.solver, "learner": learner}
        return Fit.of_coupled(links, adata, task, key="choice", **own, **run)

    def rows(
        self,
        candidate: Candidate,
        fit: Fit,
        scored: AnnData,
        fold: Fold,
        number: int,
        *,
        baselines: bool,
    ) -> list[dict]:
        """Return a row for each metric of a candidate, and of the baselines when asked for."""
        asked = Evaluation(
            fit,
            scored,
            lambda states: states,
            fold.groupby,
            label_key=None,
            n_cells=MAX_SCORED,
            in_sample=False,
            seed=self.seed,
            baselines=baselines,
            n_planned=MAX_PLANNED,
            bridge=False,
        )
        split = split_all(comparisons(fit.task, asked), min_cells=MIN_CELLS)
        every = []
        for k, one in enumerate(split):
            # one seed for all candidates: they are scored on the same cells
            rng = numpy_rng([self.seed, k])
            every.append(score_all(shuffled(one, MAX_SCORED, rng), METRICS, 0, rng))
        found = []
        for name, score in average(every).items():
            if name == GENOT or score.kind == BASELINE:
                named = {"candidate": candidate.name, "kind": CANDIDATE} if name == GENOT else {}
                row = {"candidate": name, "kind": BASELINE, "fold": number} | named
                found += [row | {"metric": m, "value": v[0]} for m, v in score.values.items()]
        return found


def score_candidates(
    adata: AnnData,
    task,
    candidates: Sequence[Candidate],
    folds: Sequence[Fold],
    *,
    seed: int,
    device: str,
    progress: bool,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the scores of all candidates and baselines by fold, and why candidates failed."""
    share = share_of_steps(candidates, len(folds), task)
    scoring, rows = Scoring(task, candidates, share, seed, device), []
    n = len(candidates) * len(folds)
    with progress_bar(total=n, desc="choice", unit="fit", shown=progress) as bar, quiet():
        for number, fold in enumerate(folds):
            rows += scoring.fold(number, fold, adata, bar)
    scores = pd.DataFrame(rows, columns=FOLDS)
    for name, found in scores[scores["kind"] == CANDIDATE].groupby("candidate"):
        if found["value"].isna().any() and name not in scoring.failed:
            scoring.failed[name] = "its predictions are not finite"
    lost = (scores["kind"] == CANDIDATE) & scores["candidate"].isin(list(scoring.failed))
    return scores[~lost], scoring.failed


def part_of(adata: AnnData, rows) -> AnnData:
    """Return some cells, in memory."""
    part = adata[rows]
    return part.to_memory() if adata.isbacked else part.copy()


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing of short fits: the fit that is returned says what concerns it."""
    before = logger.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = before
