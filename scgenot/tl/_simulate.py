"""Simulate cells: new ones, in a new AnnData, in genes."""

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.auto import tqdm

from scgenot._check import check_count, check_guidance
from scgenot._random import Rng, seed_of
from scgenot.cells.keys import EMBEDDING, PARAMS, SOURCE_CELL, Keys
from scgenot.fit.decoder import Decoder, feature_decoder, never_negative
from scgenot.fit.questions import Question, ask
from scgenot.fit.sample import BLOCK, draw_blocks
from scgenot.fit.seen import warn_if_unlike
from scgenot.fit.source import ModelSource, checked_width, embedding_key, ready_model, source_cells
from scgenot.model.generate import blocks

logger = logging.getLogger("scgenot")


def simulate(
    adata: AnnData,
    target: str | float | Sequence[str | float] | None = None,
    *,
    dose: float | Sequence[float] | None = None,
    n_samples: int = 1,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    guidance: float = 1.0,
    decoder: Decoder | None = None,
    clip: bool = True,
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
) -> AnnData:
    """Simulate target cells of source cells, as an AnnData of their own.

    Parameters
    ----------
    adata
        Source cells; as of :func:`predict`. Only these become cells, control cells of a screen.
    target
        As of :func:`predict`, or several: each gets its own cells, from the same noise, so that differences are due to
        the target.
    dose
        Of a screen with doses; None for the largest of that perturbation. Several: each target at each dose.
    n_samples
        Cells per source cell and target.
    key, model, guidance
        As of :func:`predict`.
    use_rep
        Representation of `adata`. None takes that of the fit.
    decoder
        Function of generated states, an array `(n, q)`, to features: a DataFrame, or an array with one column for each
        of `var_names`. None inverts the embedding that made the representation, see :func:`decode`, or Scanpy's PCA.
    clip
        Whether to set negative values to 0 where the features that were fitted had none: the inverse of an embedding
        does not know that expression is not negative. The share of values is logged.
    rng
        Seed. The same seed gives the same cells, each target those that it gets alone.
    device
        Where to compute; None for CUDA when there is one.
    progress
        Whether to show a progress bar over several targets, or over thousands of cells.

    Returns
    -------
    New cells, ordered by target, dose, sample and source cell, ready for :func:`anndata.concat` with `adata`:

    `X`
        Features, in the units of those that were fitted.
    `obs`
        That of the source cell, without what :func:`predict` wrote, with the perturbation and dose, or time, of the
        target.
    `obs["source_cell"]`
        Name of the source cell.
    `obs["<key>_growth"]`
        Mass sent over mass had, for an unbalanced fit: draw the cells in these proportions for a population.
    `obsm`
        The generated states, under the name of the representation of targets.
    `uns`
        The embedding, so that :func:`decode` and :func:`project` work, and the parameters of the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, the representation is not there, or a perturbation was not seen; the known ones are
        listed.
    ValueError
        When nothing turns states into features (pass `decoder`), `n_samples` is under 1, or as for :func:`predict`.

    Warns
    -----
    UserWarning
        As for :func:`predict`.

    Examples
    --------
    >>> treated = sg.tl.simulate(adata, target="IFN", model=fitted)  # doctest: +SKIP
    >>> sg.pl.response(adata, treated, ["ISG15", "CXCL10"])  # doctest: +SKIP
    """
    check_count("n_samples", n_samples, 1)
    check_guidance(guidance)
    genot, params, fitted = ready_model(adata, model, key, device)
    cells = checked_width(source_cells(adata, params, use_rep=use_rep, fitted=fitted), genot)
    rep = params.get("target_rep", use_rep or params.get("use_rep"))
    clip = clip and decoder is None and never_negative(fitted, params, rep)
    # all questions before the first answer: what cannot be answered is refused before the work
    asked = each_of(target, dose)
    obs = pd.concat([described(adata, ask(adata, params, *one), n_samples, key) for one in asked])
    warn_if_unlike(cells[ask(adata, params, *asked[0]).rows], fitted, params, key)
    states, growth = (
        np.empty((len(obs), genot.target_dim), dtype=np.float32),
        np.empty(len(obs), dtype=np.float32),
    )
    end, seed = 0, seed_of(rng)
    options = {
        "n_samples": n_samples,
        "guidance": guidance,
        "seed": seed,
        "progress": progress and len(asked) == 1,
    }
    for one in tqdm(
        asked, desc="simulating", unit="target", disable=not progress or len(asked) < 2
    ):
        rows, condition = (question := ask(adata, params, *one)).rows, question.condition
        start, end = end, end + n_samples * len(rows)
        by_sample = states[start:end].reshape(n_samples, len(rows), -1)
        for block in draw_blocks(genot, cells[rows], condition, **options):
            by_sample[:, block.rows] = block.draws.transpose(1, 0, 2)
        if genot.eta is not None:
            growth[start:end] = np.tile(genot.growth(cells[rows], condition).numpy(), n_samples)
    if genot.eta is not None:
        obs[Keys(key).growth] = growth
    features, names = decoded(states, feature_decoder(fitted, params, rep, decoder), clip=clip)
    return assemble(fitted, params, rep, features, names, states, obs, key)


def each_of(
    target: str | float | Sequence[str | float] | None, dose: float | Sequence[float] | None
) -> list[tuple[str | float | None, float | None]]:
    """Return each target at each dose; checked."""
    targets, doses = (
        [value] if value is None or np.ndim(value) == 0 else list(value) for value in (target, dose)
    )
    asked = list(product(targets, doses))
    if not asked or len(set(asked)) < len(asked):
        raise ValueError(f"`target={target!r}` at `dose={dose!r}`: give one or more, each once.")
    return asked


def described(adata: AnnData, question: Question, n_samples: int, key: str) -> pd.DataFrame:
    """Return the obs of simulated cells: that of the source cells, but for what they were asked to become."""
    # what was predicted of a source cell may be of another target
    source = adata.obs.iloc[question.rows].drop(columns=Keys(key).of_predictions, errors="ignore")
    obs = pd.concat([source] * n_samples)
    obs[SOURCE_CELL] = np.tile(source.index.to_numpy(dtype=object), n_samples)
    for column, value in question.answer.items():
        values = np.tile(np.broadcast_to(value, len(source)), n_samples)
        obs[column] = like(values, adata.obs[column]) if column in adata.obs else values
    names = source.index.astype(str) + f"_{question.name}"
    obs.index = (
        names if n_samples == 1 else [f"{name}_{k}" for k in range(n_samples) for name in names]
    )
    return obs


def like(values: np.ndarray, column: pd.Series) -> pd.Categorical | np.ndarray:
    """Return values as a column has them: categories stay categories, in their order, new ones last."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return values
    known = column.cat.categories
    new = [value for value in pd.unique(values) if value not in known]
    return pd.Categorical(values, [*known, *new], ordered=column.cat.ordered)


def decoded(
    states: np.ndarray, to_features: Callable[[np.ndarray], pd.DataFrame], *, clip: bool
) -> tuple[np.ndarray, pd.Index]:
    """Turn states into features block by block, negative ones into 0 if asked."""
    features, n_clipped = None, 0
    for rows in blocks(len(states), BLOCK):
        frame = to_features(states[rows])
        if features is None:
            features = np.empty((len(states), frame.shape[1]), dtype=np.float32)
        features[rows] = frame
        if clip:
            n_clipped += int((features[rows] < 0).sum())
            np.maximum(features[rows], 0, out=features[rows])
    if clip:
        logger.info(
            "%.2f %% of the simulated values were negative and are set to 0.",
            100 * n_clipped / features.size,
        )
    return features, frame.columns


def assemble(
    fitted: AnnData,
    params: dict,
    rep: str | None,
    features: np.ndarray,
    names: pd.Index,
    states: np.ndarray,
    obs: pd.DataFrame,
    key: str,
) -> AnnData:
    """Make an AnnData of simulated cells that goes with that of the fit, and says of which fit they are."""
    var = fitted.var.loc[names] if names.isin(fitted.var_names).all() else pd.DataFrame(index=names)
    for column in obs.columns[[isinstance(dtype, pd.CategoricalDtype) for dtype in obs.dtypes]]:
        obs[column] = obs[column].cat.remove_unused_categories()
    out = AnnData(features, obs=obs, var=var.copy())
    out.obs_names_make_unique()
    if rep is not None and rep != "X":
        out.obsm[rep] = states
        stored = fitted.uns.get(embedding_key(rep), {})
        if params.get("task") != "translation" and EMBEDDING in stored:
            out.uns[embedding_key(rep)] = deepcopy(dict(stored))
    if params:
        out.uns[key] = {PARAMS: deepcopy(dict(params))}
    return out
