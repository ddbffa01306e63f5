"""A light bridge: a Gaussian mixture law for each condition, as a model of a fit."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from scgenot._check import check_count, check_matrix
from scgenot._random import Rng, numpy_rng
from scgenot._typed import typed
from scgenot.model.files import FORMAT, ModelFileError
from scgenot.model.mixture import MixtureLaw
from scgenot.model.stored import WithFile

# conditions that differ by less are one: single precision
SAME = 1e-5


class MixtureBridge(WithFile):
    """Conditional distributions as Gaussian mixtures in closed form, one per condition.

    The model of :class:`~scgenot.model.LightBridge`. Samples need no integration; means and
    densities are exact.

    Parameters
    ----------
    laws
        Conditional distribution of each condition, all in one space.
    conditions
        Conditions, shape `(len(laws), c)`; None for a single element without condition.

    Raises
    ------
    ValueError
        When `laws` are in different spaces, or their number is not that of the conditions.

    Examples
    --------
    >>> law = sg.model.MixtureLaw([1.0], np.zeros((1, 5)), np.ones((1, 5)), 0.5)
    >>> draws = sg.model.MixtureBridge([law]).sample(source, n_samples=4)
    """

    kind = "mixture bridge"

    def __init__(self, laws: Sequence[MixtureLaw], conditions: np.ndarray | None = None):
        self.laws = list(laws)
        self.conditions = None if conditions is None else check_matrix(conditions, "conditions", 1)
        n = 1 if self.conditions is None else len(self.conditions)
        if len(self.laws) != n or len({law.dim for law in self.laws}) != 1:
            raise ValueError(
                f"`laws` must be {n} in one space, one for each condition; found "
                f"{[law.dim for law in self.laws]} dimensions."
            )

    @property
    def source_dim(self) -> int:
        """Columns of a source cell."""
        return self.laws[0].dim

    @property
    def target_dim(self) -> int:
        """Columns of a target cell."""
        return self.laws[0].dim

    @property
    def condition_dim(self) -> int:
        """Columns of a condition; 0 without conditions."""
        return 0 if self.conditions is None else self.conditions.shape[1]

    @typed
    def sample(
        self,
        source: np.ndarray,
        condition: np.ndarray | None = None,
        *,
        n_samples: int = 1,
        rng: Rng = 0,
    ) -> np.ndarray:
        """Draw possible target cells for each source cell.

        Parameters
        ----------
        source
            Source cells, shape `(n, d)`.
        condition
            Conditions, shape `(n, c)`, or one `(c,)` for all; each must be one of the fit.
        n_samples
            Samples per cell.
        rng
            Seed; the same seed gives the same bits.

        Returns
        -------
        Samples, shape `(n, n_samples, d)`.

        Raises
        ------
        ValueError
            When a shape is wrong, or a condition was not fitted.
        """
        check_count("n_samples", n_samples, 1)
        rng, shape = numpy_rng(rng), (n_samples, self.target_dim)
        return self._each(
            lambda law, x: law.sample(x, n_samples, rng=rng), shape, condition, source=source
        )

    @typed
    def mean(self, source: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
        """Exact conditional means `E[y | x]`, shape `(n, d)`.

        Parameters
        ----------
        source, condition
            As in :meth:`sample`.

        Returns
        -------
        Means, shape `(n, d)`.
        """
        return self._each(MixtureLaw.mean, (self.target_dim,), condition, source=source)

    @typed
    def log_prob(
        self, source: np.ndarray, target: np.ndarray, condition: np.ndarray | None = None
    ) -> np.ndarray:
        """Exact log-densities `log pi(y | x)` of target cells given source cells, one each.

        Parameters
        ----------
        source, target
            Cells, shapes `(n, d)`.
        condition
            As in :meth:`sample`.

        Returns
        -------
        Log-densities, shape `(n,)`.
        """
        return self._each(MixtureLaw.log_prob, (), condition, source=source, target=target)

    def _each(self, answer: Callable, shape: tuple, condition, **sides) -> np.ndarray:
        """Ask the law of each cell; answers have a shape `(n, *shape)`."""
        cells = [check_matrix(side, name, 0).astype(float) for name, side in sides.items()]
        for name, side in zip(sides, cells, strict=True):
            if side.shape != (len(cells[0]), self.source_dim):
                expected = len(cells[0]), self.source_dim
                raise ValueError(f"`{name}` has shape {side.shape}, expected {expected}.")
        which, out = self._which(condition, len(cells[0])), np.empty((len(cells[0]), *shape))
        for k in np.unique(which):
            rows = which == k
            out[rows] = answer(self.laws[k], *(side[rows] for side in cells))
        return out

    def _which(self, condition: np.ndarray | None, n: int) -> np.ndarray:
        """Positions of the laws of `n` cells."""
        if condition is None and self.conditions is None:
            return np.zeros(n, dtype=int)
        asked = np.asarray(np.nan if condition is None else condition, dtype=float)
        size = self.condition_dim
        if self.conditions is None or asked.shape not in ((size,), (n, size)):
            shape = None if condition is None else asked.shape
            raise ValueError(
                f"`condition` has shape {shape}, the model was made for ({n}, {size}) or ({size},)."
            )
        every = np.broadcast_to(asked, (n, size))
        kinds, place = np.unique(every, axis=0, return_inverse=True)
        off = np.abs(kinds[:, None] - self.conditions).max(2)
        if (off.min(1) > SAME).any():
            raise ValueError(
                f"`condition` has {int((off.min(1) > SAME).sum())} conditions that the bridge was "
                "not fitted with: it predicts fitted conditions only. Use "
                "`learner=sg.model.FlowMatching()` for those."
            )
        return off.argmin(1)[place.reshape(-1)]

    def _take_apart(self) -> tuple[dict, dict[str, np.ndarray]]:
        arrays = {
            f"{k}.{name}": value
            for k, law in enumerate(self.laws)
            for name, value in law.to_dict().items()
        }
        given = {} if self.conditions is None else {"conditions": self.conditions}
        return {"format": FORMAT, "laws": len(self.laws)}, arrays | given

    @classmethod
    def _put_together(cls, config: Mapping, arrays: Mapping) -> "MixtureBridge":
        if config.get("format") != FORMAT:
            raise ModelFileError(
                f"The model has format {config.get('format')!r}, this version of scgenot reads "
                f"format {FORMAT}: fit and save the model again."
            )
        stored = {name: np.asarray(array) for name, array in arrays.items()}
        try:
            conditions, laws = stored.pop("conditions", None), {}
            for name, array in stored.items():
                k, _, part = name.partition(".")
                laws.setdefault(int(k), {})[part] = array
            if sorted(laws) != list(range(config["laws"])):
                raise ValueError(f"it has the laws {sorted(laws)}")
            made = [MixtureLaw.from_dict(laws[k]) for k in range(len(laws))]
            return cls(made, conditions)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"The model is damaged ({error}): fit again.") from error
