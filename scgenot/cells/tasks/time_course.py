"""A time course into pairs: consecutive time points, or any that are asked for."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from anndata import AnnData

from scgenot.cells.read import representation
from scgenot.cells.strata import Linked, Strata, stratum_text
from scgenot.cells.times import TimeScale
from scgenot.pair import Pair


def by_time(
    adata: AnnData,
    time_key: str,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    pairs: Sequence[tuple] | None = None,
    growth_key: str | None = None,
    covariates: Sequence[str] = (),
) -> list[Linked]:
    """Pair the time points of a course."""
    scale, times = TimeScale.read(adata, time_key)
    if not adata.obs_names.is_unique:
        raise ValueError(
            "obs names of `adata` are not unique: call `adata.obs_names_make_unique()`."
        )
    steps = choose_steps(times, scale, time_key, pairs)
    cells = representation(adata, use_rep, layer=layer)
    rates = read_rates(adata, growth_key)
    strata, groups, linked = Strata.read(adata, covariates), {}, []
    for earlier, later in steps:
        name = f"{earlier:g} to {later:g}"
        sides = [np.flatnonzero(times == time) for time in (earlier, later)]
        parts = strata.split(*sides)
        groups[name] = *sides, parts
        if not parts:
            strata.report({name: groups[name]})  # a course cannot do without one of its steps
        for values, source, target in parts:
            stratum = stratum_text(values, strata.covariates)
            pair = Pair(
                source=cells[source],
                target=cells[target],
                source_weights=None
                if rates is None
                else relative_growth(rates[source], later - earlier),
                condition=time_condition(np.unique(times), earlier, later),
                name=f"{name}, {stratum}" if stratum else name,
            )
            labels = {"source_time": earlier, "target_time": later, "stratum": stratum}
            linked.append(Linked(pair, source, target, labels, values))
    strata.report(groups)
    return linked


def time_condition(known: np.ndarray, earlier: float, later: float) -> np.ndarray:
    """Source time and step, over the length of the course: what the network is told."""
    span = known[-1] - known[0]
    return np.array([(earlier - known[0]) / span, (later - earlier) / span])


def choose_steps(
    times: np.ndarray, scale: TimeScale, time_key: str, pairs: Sequence[tuple] | None
) -> list[tuple[float, float]]:
    """Return earlier and later time of each pair, checked."""
    known, counts = np.unique(times, return_counts=True)
    if len(known) < 2:
        raise ValueError(
            f"`time_key={time_key!r}` has the times {known.tolist()} only: a course needs two or more."
        )
    steps = list(pairwise(known.tolist()))
    if pairs is not None:
        steps = find_steps(pairs, scale)
    few = set(known[counts < 2].tolist())
    used = sorted({time for step in steps for time in step if time in few})
    if used:
        raise ValueError(
            f"`time_key={time_key!r}` has a single cell at {used}: drop that time or choose `pairs`."
        )
    return steps


def find_steps(pairs: Sequence[tuple], scale: TimeScale) -> list[tuple[float, float]]:
    """Return the times that pairs of numbers or labels mean, each pair once."""
    if not isinstance(pairs, Collection):
        raise TypeError(f"`pairs={pairs!r}` must be a list of (earlier, later) times.")
    wrong = [pair for pair in pairs if np.ndim(pair) != 1 or len(pair) != 2]
    if wrong or len(pairs) == 0:
        raise ValueError(
            f"`pairs` must be a list of (earlier, later) times; found {wrong or 'none'}."
        )
    steps = [tuple(scale.find(time, "pairs") for time in pair) for pair in pairs]
    wrong = [step for step in steps if step[0] >= step[1]]
    if wrong:
        raise ValueError(f"`pairs` must be (earlier, later) times; found {wrong}.")
    return list(dict.fromkeys(steps))


def read_rates(adata: AnnData, growth_key: str | None) -> np.ndarray | None:
    """Read rates of growth per unit of time; None when there is no key."""
    if growth_key is None:
        return None
    if growth_key not in adata.obs:
        raise KeyError(
            f"`growth_key={growth_key!r}` is not in obs; found {list(adata.obs)}. See `sg.tl.score_growth`."
        )
    column = adata.obs[growth_key]
    if column.dtype.kind not in "biuf":
        raise ValueError(f"`growth_key={growth_key!r}` must be numbers; found {column.dtype}.")
    rates = column.to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(rates).all():
        raise ValueError(
            f"`growth_key={growth_key!r}` is missing or infinite in {(~np.isfinite(rates)).sum()} cells."
        )
    return rates


def relative_growth(rates: np.ndarray, step: float) -> np.ndarray:
    """Descendants per cell after a step, `exp(rate step)`, relative to the largest so that nothing overflows."""
    return np.exp(step * (rates - rates.max()))
