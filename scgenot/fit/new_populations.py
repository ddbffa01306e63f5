"""Cells of generated populations as an AnnData that can be combined with the fitted one."""

import logging
from collections.abc import Mapping
from operator import itemgetter

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import check_count, check_memory
from scgenot._random import numpy_rng
from scgenot.cells.embedding.place import place
from scgenot.cells.keys import Keys
from scgenot.cells.labels import factorize, like_column
from scgenot.cells.populations import N_CELLS, Populations
from scgenot.fit.decoder import feature_decoder
from scgenot.fit.made_up import assemble, decoding_of
from scgenot.fit.population_fit import PopulationFit, ordered

logger = logging.getLogger("scgenot")

SOURCE = "source_population"
MOST_TRIED = 10**6  # names
ROW = 32  # single precision numbers that take as much as the names and labels of a cell


def simulated_populations(
    fit: PopulationFit,
    adata: AnnData,
    condition,
    *,
    n_populations: int | None,
    n_cells: int | None,
    guidance: float,
    decoder,
    clip: bool,
    seed: int,
) -> AnnData:
    """Generate populations; as :func:`scgenot.tl.simulate_populations`."""
    for name, value in (("n_populations", n_populations), ("n_cells", n_cells)):
        if value is not None:
            check_count(name, value, 1)
    n_cells = n_cells or max(1, round(float(fit.table[N_CELLS].median())))
    fit.check_embedding()
    rng, task = numpy_rng(seed), fit.task
    sources = sources_of(fit, adata)
    check_size(fit, condition, n_populations, n_cells, 1 if sources is None else len(sources))
    asked = conditions_of(fit, condition, n_populations, rng)
    n = n_populations or 1
    if condition is None and sources is None:  # drawn, one for each population
        n = 1
    per_source = 1 if sources is None else len(sources)
    rows = asked.iloc[np.repeat(np.arange(len(asked)), per_source * n)].reset_index(drop=True)
    chosen = None
    if sources is not None:
        chosen = np.tile(np.repeat(np.arange(per_source), n), len(asked))
    clouds = fit.model.clouds(
        task.conditions.encode(rows),
        None if sources is None else [ordered(sources[k]) for k in chosen],
        n_cells=n_cells,
        expected=sources is not None and n_populations is None,
        guidance=guidance,
        rng=rng,
    )
    partners = None if sources is None else [sources.names[k] for k in chosen]
    obs = described(fit, rows, partners, n_cells)
    states = np.concatenate(clouds).astype(np.float32)
    to_features, clip = features_of(fit, decoder, clip=clip)
    decoding = decoding_of(fit, task.use_rep, to_features, clip=clip)
    return assemble(fit, task.use_rep, states, obs, decoding)


def check_size(
    fit: PopulationFit, condition, n_populations: int | None, n_cells: int, per_source: int
) -> None:
    """Refuse more populations or cells than the machine holds, before a row is made for each."""
    several = condition is not None and not isinstance(condition, Mapping)
    n = (n_populations or 1) * per_source * (len(condition) if several else 1)
    dim = fit.model.dim
    # covariances, coordinates, and a row of obs
    n_values = n * (dim**2 + n_cells * (dim + ROW))
    asked = {"n_cells": n_cells, "n_populations": n_populations or 1}
    name, value = max(asked.items(), key=itemgetter(1))
    check_memory(name, value, n_values)


def sources_of(fit: PopulationFit, adata: AnnData) -> Populations | None:
    """Read the populations that a paired fit starts from; None where it starts from noise."""
    if fit.task.paired_column is None:
        return None
    cells = place(adata, fit.adata, fit.task.use_rep, layer=fit.task.layer)
    return fit.task.partners(adata, cells)


def conditions_of(
    fit: PopulationFit, condition, n_populations: int | None, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the conditions that were asked for; without any, those of fitted populations."""
    known = fit.task.conditions
    if condition is not None:
        if not known.columns:
            raise ValueError(
                f"`condition={condition!r}`: the fit has no conditions; leave it out, or fit with "
                "`condition=` a column of obs."
            )
        return known.table(condition)
    if fit.task.paired_column is not None:
        if known.columns:
            raise ValueError(
                f"`condition` is needed: the fit has the columns {known.columns}; give a value for "
                f"each, such as `condition={known.example()}`."
            )
        return pd.DataFrame(index=range(1))
    rows = rng.integers(len(fit.table), size=n_populations or 1)
    return fit.table[known.columns].iloc[rows].reset_index(drop=True)


def described(
    fit: PopulationFit, rows: pd.DataFrame, partners: list[str] | None, n_cells: int
) -> pd.DataFrame:
    """Return the obs of the cells of new populations, with values as the fitted columns hold."""
    task, fitted = fit.task, fit.adata.obs
    values = {column: rows[column].to_numpy(dtype=object) for column in task.conditions.columns}
    if task.answer is not None:
        values[task.paired_column] = np.full(len(rows), task.answer, dtype=object)
    names = new_names(len(rows), fitted.get(task.population_key, pd.Series(dtype=object)))
    columns = {task.population_key: like_column(np.repeat(names, n_cells), pd.Series(names))}
    for column, found in values.items():
        held = fit.table[column] if column in fit.table else fitted.get(column, pd.Series(found))
        columns[column] = like_column(np.repeat(found, n_cells), held)
    if partners is not None:
        columns[SOURCE] = pd.Categorical(np.repeat(partners, n_cells))
    obs = pd.DataFrame(columns)
    obs[task.population_key] = obs[task.population_key].astype("category")
    obs[Keys(fit.key).origin] = pd.Categorical(["simulated"] * len(obs))
    prefix = "" if isinstance(names[0], str) else "simulated_"
    cells = [f"{prefix}{name}_{k}" for name in names for k in range(n_cells)]
    return obs.set_axis(pd.Index(cells, dtype=object), axis=0)


def new_names(n: int, column: pd.Series) -> list[str] | list[int]:
    """Return names that no population has; numbers after numbers, as a file holds one type."""
    own = pd.Series(factorize(column)[1])
    if len(own) and own.dtype.kind in "iuf":
        first = int(own.max()) + 1
        return list(range(first, first + n))
    taken = set(map(str, own))
    names = (f"simulated_{k}" for k in range(1, MOST_TRIED + n + len(taken)))
    free = (name for name in names if name not in taken)
    return [next(free) for _ in range(n)]


def features_of(fit: PopulationFit, decoder, *, clip: bool):
    """Return what turns states into X, and whether to clip; coordinates where nothing decodes."""
    rep = fit.task.use_rep
    try:
        return feature_decoder(fit, rep, decoder), clip and decoder is None
    except ValueError as error:
        if decoder is not None:
            raise
        logger.info("X holds the coordinates in %r: %s", rep, error)
    names = [f"{rep}_{k + 1}" for k in range(fit.model.dim)]
    return lambda states: pd.DataFrame(states, columns=names), False
