"""Predictions of source cells: one possible cell, the mean of many, and how far they spread."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from scgenot._random import seed_of
from scgenot.cells.keys import Keys
from scgenot.fit.sample import Drawn, draw_blocks
from scgenot.fit.simulation import growth_of_block
from scgenot.fit.spread import cosine_variance, response_size, spread, total_variance
from scgenot.pair import Question

logger = logging.getLogger("scgenot")
# more source cells than this are predicted when it is asked for
MOST_AT_ONCE = 50_000


@dataclass
class Prediction:
    """What is predicted: source cells in the space of the fit, and a question about them.

    `options` are what `draw_blocks` takes.
    """

    fit: object
    question: Question
    cells: np.ndarray
    rep: str | None
    options: dict

    @classmethod
    def of(
        cls,
        fit,
        adata: AnnData,
        target=None,
        dose: float | None = None,
        *,
        use_rep: str | None = None,
        shared_rep: str | None = None,
        n_samples: int = 32,
        guidance: float = 1.0,
        integrator=None,
        rng=0,
        progress: bool = True,
    ) -> "Prediction":
        """Ask the fit, and read the source cells."""
        question = fit.ask(adata, target, dose)
        cells = fit.cells(adata, use_rep=use_rep, shared_rep=shared_rep)[question.rows]
        if adata is not fit.adata and fit.reference is not None:
            fit.reference.warn_if_unlike(cells)
        rep = getattr(fit.task, "target_rep", use_rep or getattr(fit.task, "use_rep", None))
        options = {"n_samples": n_samples, "guidance": guidance, "integrator": integrator}
        options |= {"seed": seed_of(rng), "progress": progress, "antithetic": True}
        return cls(fit, question, cells, rep, options)

    @property
    def asked(self) -> dict:
        """Perturbation and dose."""
        answer = self.question.answer
        scalars = {name: value for name, value in answer.items() if np.ndim(value) == 0}
        return asked_of(self.fit.task, scalars)

    def blocks(self, start: int = 0) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Predict block by block, from the one with the source cell `start` on, by name."""
        model, total = self.fit.model, None
        for one in self._drawn(start):
            if total is None:  # of a model without units that of the first draws, begun or not
                first = one if hasattr(model, "units") or not start else next(self._drawn(0))
                total = total_variance(model, first.draws)
            yield one.rows, self._values(one, total)

    def _drawn(self, start: int) -> Iterator[Drawn]:
        """Draw target cells."""
        condition = self.question.condition
        return draw_blocks(self.fit.model, self.cells, condition, start=start, **self.options)

    def _values(self, one: Drawn, total: float) -> dict[str, np.ndarray]:
        """Return what the draws of a block say."""
        fit, keys = self.fit, Keys(self.fit.key)
        found = {keys.sample: one.draws[:, 0], keys.mean: one.draws.mean(1)}
        certain = getattr(fit.model, "deterministic", False)
        if not certain:
            found[keys.uncertainty] = spread(one.draws, total, antithetic=one.antithetic)
        if fit.one_space:
            moved = one.draws - one.source[:, None, : one.draws.shape[2]]
            if not certain:
                found[keys.cosine_variance] = cosine_variance(moved)
            found[keys.response] = response_size(moved, total, antithetic=one.antithetic)
        extrapolates = getattr(fit.model, "extrapolation", None) is not None
        if extrapolates and self.options["guidance"] == 1:
            told = None if self.question.condition is None else self.question.condition[one.rows]
            found[keys.support] = np.asarray(fit.model.support(one.source, told))
        growth = growth_of_block(fit.model, one, self.question.condition)
        return found if growth is None else found | {keys.growth: growth}


def predict_cells(fit, adata: AnnData, *asked, **options) -> dict:
    """Return what is written of a prediction, as arguments of `write_prediction`."""
    prediction, found = Prediction.of(fit, adata, *asked, **options), {}
    for rows, block in prediction.blocks():
        for name, values in block.items():
            shape = len(prediction.cells), *values.shape[1:]
            found.setdefault(name, np.empty(shape, np.float32))[rows] = values
    return {"rows": prediction.question.rows, "values": found, "asked": prediction.asked}


def asked_of(task, answer: dict) -> dict:
    """Return perturbation and dose that were asked for, for plots; nothing of other tasks."""
    names = {"target": "perturbation_key", "dose": "dose_key"}
    columns = {what: getattr(task, key, None) for what, key in names.items()}
    return {what: answer[column] for what, column in columns.items() if column in answer}


def predict_at_once(fit, adata: AnnData, *, predict: bool | None, progress: bool) -> dict | None:
    """Predict the source cells of a new fit, unless that was not asked for or they are many."""
    if predict is False:
        return None
    try:
        n_source = len(fit.ask(adata).rows)
    except ValueError as error:  # which perturbation?
        if predict:
            raise ValueError(
                f"`predict=True` cannot be done at once, call `sg.tl.predict`: {error}"
            ) from error
        logger.info("The source cells are not predicted at once: %s", error)
        return None
    if predict is None and n_source > MOST_AT_ONCE:
        logger.info(
            "%d source cells are not predicted at once: call `sg.tl.predict(adata)`.", n_source
        )
        return None
    return predict_cells(fit, adata, progress=progress)
