"""Topics of counts, by latent Dirichlet allocation of scikit-learn."""

import numpy as np
from scipy.special import digamma
from sklearn.decomposition import LatentDirichletAllocation

from scgenot.cells.embedding.features import Values, depth

MAX_PASSES = 50


def fit_topics(counts: Values, k: int, seed: int, label: str) -> tuple[np.ndarray, dict, dict]:
    """Return shares of topics, what to project and decode with, and a report."""
    depth(counts, label)  # a cell without counts has no topics
    # passes over all cells: minibatches, and the 10 passes of the default, leave topics mixed
    lda = LatentDirichletAllocation(
        k, learning_method="batch", max_iter=MAX_PASSES, random_state=seed
    )
    with np.errstate(invalid="ignore"):  # OpenBLAS flags finite products too, numpy issue 24067
        lda.fit(counts)
    totals = lda.components_.sum(axis=1)
    frequencies = (lda.components_ / totals[:, None]).T
    embedding = {"loadings": frequencies, "offset": np.zeros(counts.shape[1]), "totals": totals}
    return topics_of(counts, frequencies, totals, label), embedding, {}


def topics_of(
    counts: Values, frequencies: np.ndarray, totals: np.ndarray, label: str
) -> np.ndarray:
    """Return the shares of topics of each cell, shape `(n, k)`; rows sum to 1."""
    depth(counts, label)
    n_features, k = frequencies.shape
    lda = LatentDirichletAllocation(k)
    # the fitted attributes that scikit-learn's `transform` reads
    lda.components_ = frequencies.T * totals[:, None]
    lda.exp_dirichlet_component_ = _exp_expected_log(lda.components_)
    lda.doc_topic_prior_, lda.n_features_in_ = 1 / k, n_features
    with np.errstate(invalid="ignore"):
        return lda.transform(counts).astype(counts.dtype)


def _exp_expected_log(parameters: np.ndarray) -> np.ndarray:
    """`exp(E log p)` of frequencies with a Dirichlet law, row by row."""
    return np.exp(digamma(parameters) - digamma(parameters.sum(axis=1, keepdims=True)))
