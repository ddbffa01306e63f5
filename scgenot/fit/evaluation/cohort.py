"""Cross-validated prediction of an outcome of populations, compared with baselines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold

from scgenot._check import check_labels
from scgenot._progress import progress_bar
from scgenot._random import numpy_rng
from scgenot._warn import warn_user
from scgenot.cells.labels import as_text, factorize, texts_of
from scgenot.cells.populations import Populations
from scgenot.fit.evaluation.comparison import BASELINE, MODEL
from scgenot.population.embedding import gaussian_coordinates
from scgenot.population.gaussian import estimate
from scgenot.population.prototypes import pooled

FEW = 100  # populations, under which a warning says so
REPEATS, N_RESAMPLES, LEVEL = 3, 500, 0.95
PENALTIES, INNER_FOLDS = 10.0 ** np.arange(-2, 3), 3
TRIVIAL = ("mean expression", "composition")


@dataclass(frozen=True)
class Outcome:
    """Numbers to predict, two classes as 0 and 1, and how predictions are scored."""

    values: np.ndarray
    metric: str
    chance: float

    @classmethod
    def of(cls, column: pd.Series, n_folds: int) -> "Outcome":
        """Read the outcome of each population: two classes, or numbers."""
        numeric = pd.api.types.is_numeric_dtype(column)
        if numeric and not np.isfinite(column.to_numpy(dtype=float)).all():
            raise ValueError(f"`outcome={column.name!r}` has values that are not finite.")
        codes, known = factorize(column if numeric else as_text(column))
        if len(known) == 2:
            least = int(np.bincount(codes).min())
            if least < n_folds:
                raise ValueError(
                    f"`outcome={column.name!r}` has one of {texts_of(known)} in {least} "
                    f"population(s) only: at least `n_folds={n_folds}` are needed."
                )
            return cls(codes, "auc", 0.5)
        if len(known) < 2 or not numeric:
            raise ValueError(
                f"`outcome={column.name!r}` must have two values, or be numbers; found "
                f"{texts_of(known)[:5]}."
            )
        if len(codes) < 2 * n_folds:
            raise ValueError(
                f"`n_folds={n_folds}` needs at least {2 * n_folds} populations; found {len(codes)}."
            )
        return cls(column.to_numpy(dtype=float), "r2", 0.0)

    def score(self, predicted: np.ndarray, rows: np.ndarray | slice = slice(None)) -> float:
        """Score predictions of some populations; NaN where these have one value."""
        true = self.values[rows]
        if np.ptp(true) == 0:
            return np.nan
        return (auc if self.metric == "auc" else r2)(true, predicted[rows])

    def folds(self, n_folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Split populations, classes in their proportions."""
        kind = StratifiedKFold if self.metric == "auc" else KFold
        splitter = kind(n_folds, shuffle=True, random_state=seed)
        return splitter.split(np.zeros(len(self.values)), self.values)

    def model(self) -> GridSearchCV:
        """Ridge or logistic regression, its penalty chosen within the training populations."""
        if self.metric == "auc":
            regression = LogisticRegression(max_iter=2000)
            return GridSearchCV(
                regression, {"C": PENALTIES}, scoring="neg_log_loss", cv=INNER_FOLDS
            )
        return GridSearchCV(Ridge(), {"alpha": PENALTIES}, scoring="r2", cv=INNER_FOLDS)

    def predict(self, fitted: GridSearchCV, features: np.ndarray) -> np.ndarray:
        """Log odds of the second class, or the expected number."""
        is_class = self.metric == "auc"
        return (fitted.decision_function if is_class else fitted.predict)(features)


def outcome_table(
    features: Mapping[str, np.ndarray],
    column: pd.Series,
    *,
    n_folds: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Predict the outcome of left-out populations from each set of features.

    Parameters
    ----------
    features
        By name, shapes `(n, k)`, in the same units throughout: they are scaled as one.
    column
        The outcome of each population.
    n_folds
        Parts of the populations that are left out in turn.
    seed
        Of the parts and of the resamples.
    progress
        Whether to show a progress bar.

    Returns
    -------
    A row for each set of features; `attrs` has `metric`, `verdict` and `predictions`.
    """
    outcome = Outcome.of(column, n_folds)
    if len(column) < FEW:
        warn_user(
            f"{len(column)} populations are few for an outcome (fewer than {FEW}): intervals are "
            "wide, and features are unlikely to be better than the baselines."
        )
    predicted = {
        name: cross_validated(values, outcome, n_folds, seed)
        for name, values in progress_bar(features.items(), shown=progress, desc="Outcome")
    }
    n, rng = len(column), numpy_rng(seed)
    draws = [rng.integers(n, size=n) for _ in range(N_RESAMPLES)]
    scores = {
        name: np.array([_mean_score(outcome, found, rows) for rows in [np.arange(n), *draws]])
        for name, found in predicted.items()
    }
    table = pd.DataFrame(
        {
            "kind": [BASELINE if name in TRIVIAL else MODEL for name in scores],
            "n_features": [features[name].shape[1] for name in scores],
            outcome.metric: [found[0] for found in scores.values()],
        },
        index=pd.Index(list(scores), name="features"),
    )
    table["low"], table["high"] = np.transpose(list(map(_interval, scores.values())))
    mean = {name: found.mean(0) for name, found in predicted.items()}
    table.attrs = {
        "metric": outcome.metric,
        "verdict": verdict(table, scores, outcome),
        "predictions": pd.DataFrame(mean, index=column.index),
    }
    return table


def cross_validated(values: np.ndarray, outcome: Outcome, n_folds: int, seed: int) -> np.ndarray:
    """Predictions of left-out populations, shape `(repeats, n)`."""
    # one scale for all: columns of a geometry have sizes that mean something
    scale = np.sqrt(values.var(0).sum() / max(1, min(values.shape)))
    values = (values - values.mean(0)) / (scale or 1.0)
    # penalized regressions do not depend on axes: as many as there are populations hold all
    left, sizes, _ = np.linalg.svd(values, full_matrices=False)
    values = left * sizes
    found = np.zeros((REPEATS, len(values)))
    for repeat in range(REPEATS):
        for known, new in outcome.folds(n_folds, seed % 2**31 + repeat):
            fitted = outcome.model().fit(values[known], outcome.values[known])
            found[repeat, new] = outcome.predict(fitted, values[new])
    return found


def verdict(table: pd.DataFrame, scores: Mapping[str, np.ndarray], outcome: Outcome) -> str:
    """Compare the best set of features with the best baseline, in words."""
    metric, value = outcome.metric, table[outcome.metric]
    ours = value[table["kind"] == MODEL].idxmax()
    trivial = value[table["kind"] == BASELINE].idxmax()
    low, high = _interval(scores[ours] - scores[trivial])
    outcome_words = "is better than"
    if low <= 0:
        outcome_words = "is worse than" if high < 0 else "is not significantly different from"
    text = (
        f"{metric}: {ours} ({value[ours]:.3g}) {outcome_words} the best baseline, "
        f"{trivial} ({value[trivial]:.3g}; difference {value[ours] - value[trivial]:.2g}, "
        f"{LEVEL:.0%} interval {low:.2g} to {high:.2g})."
    )
    best = value.idxmax()
    if table.loc[best, "low"] <= outcome.chance:
        text += f" No features are better than chance level ({outcome.chance:g})."
    return text


def auc(true: np.ndarray, predicted: np.ndarray) -> float:
    """Area under the receiver operating characteristic: the ranks of the second class."""
    ranks, n = rankdata(predicted), int(true.sum())
    return float((ranks[true == 1].sum() - n * (n + 1) / 2) / (n * (len(true) - n)))


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """Share of the variance that predictions explain."""
    return float(1 - np.square(true - predicted).mean() / true.var())


def features_of(
    found: Populations,
    labels: pd.Series | None,
    pooling: Mapping,
    *,
    seed: int,
    device: str,
    progress: bool,
) -> dict[str, np.ndarray]:
    """Sets of features of populations, baselines last."""
    clouds = list(found)
    options = {"rng": seed, "device": device, "progress": progress}
    coordinates = gaussian_coordinates(estimate(clouds, names=found.names).to(device)).values
    features = {
        "prototypes": pooled(clouds, **pooling, **options),
        "gaussian": coordinates,
        "covariance": coordinates[:, found.cells.shape[1] :],
        "mean expression": np.array([cells.mean(0, dtype=float) for cells in clouds]),
    }
    if labels is not None:
        text = check_labels(labels, len(labels), "label_key")
        codes = np.unique(text, return_inverse=True)[1]
        counts = [np.bincount(codes[rows], minlength=codes.max() + 1) for rows in found.rows]
        features["composition"] = np.array(counts) / found.sizes[:, None]
    return features


def _mean_score(outcome: Outcome, found: np.ndarray, rows: np.ndarray) -> float:
    """Score of some populations, averaged over the repeats."""
    return float(np.mean([outcome.score(one, rows) for one in found]))


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Interval of resamples."""
    low, high = np.nanquantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
