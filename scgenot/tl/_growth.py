"""Growth rates from the genes that cells express."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from scgenot._random import Rng, seed_of
from scgenot.cells.embedding.features import Values, read_features
from scgenot.cells.gene_sets import APOPTOSIS, PROLIFERATION
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_anndata, layer_label
from scgenot.cells.write import writing

logger = logging.getLogger("scgenot")

# centre and width of the logistic maps of Schiebinger et al. (2019); at a score of 0 both give the same rate
BIRTH_CURVE = (0.25, 0.5)
DEATH_CURVE = (0.1, 0.2)

MIN_GENES = 5  # of a set, to be found
MIN_FEATURES = 50  # to draw control genes from


def score_growth(
    adata: AnnData,
    *,
    organism: Literal["human", "mouse"] = "human",
    proliferation: Sequence[str] | None = None,
    apoptosis: Sequence[str] | None = None,
    birth: tuple[float, float] = (0.3, 1.7),
    death: tuple[float, float] = (0.3, 1.7),
    layer: str | None = None,
    key_added: str = "growth_rate",
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | None:
    """Guess the growth rate of each cell, birth less death, from genes of division and of apoptosis.

    Each set of genes is scored by :func:`scanpy.tl.score_genes`: mean expression less that of control genes of like
    expression. A logistic curve turns the score into a rate, as in Waddington-OT and moscot:

        `rate(score) = low + (high - low) / (1 + exp(-4 (score - centre) / width))`

    with centre .25 and width .5 for births, centre .1 and width .2 for deaths, and rates from .3 to 1.7 a day. Over a
    step `dt` a cell then leaves `exp((birth - death) dt)` cells. A cell whose scores are 0 neither grows nor shrinks.
    It is a prior: an unbalanced coupling corrects it where the populations disagree. The curves are made for scores of
    a few tenths; where values are on another scale (counts per 10,000 of a few hundred genes, say) most cells end up
    at the lowest or highest rate: look at the columns before using them.

    Parameters
    ----------
    adata
        Log-normalised expression of all genes, not only of variable ones: many genes of the sets vary little.
    organism
        Which symbols to look for; mouse ones are the human ones with only the first letter large.
    proliferation
        Genes of division. None for the 43 of G1/S and 54 of G2/M of Tirosh et al. (2016), under old and new names.
        An empty sequence leaves them out: the score is then 0 for all cells.
    apoptosis
        Genes of death, likewise. None for the 27 of MSigDB's hallmark set of apoptosis that carry it out or call for
        it: caspases, killers of the BCL-2 family, death receptors, and what p53 and stress turn on.
    birth, death
        Lowest and highest rate, **per unit of your time**: the defaults are per day. For times in hours divide them
        by 24.
    layer
        A key of `layers` to use in place of `X`.
    key_added
        Name of the column of rates and prefix of those of scores.
    rng
        Seed of the choice of control genes.
    copy
        Return an annotated copy and leave `adata` alone.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key_added="growth_rate"`:

    `obs["growth_rate"]`
        Birth less death per unit of time; what `fit_trajectory(..., growth_key="growth_rate")` takes.
    `obs["growth_rate_proliferation"]`, `obs["growth_rate_apoptosis"]`
        The two scores.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData.
    KeyError
        When `layer` is not there.
    ValueError
        When fewer than 5 genes of a set are there, there are fewer than 50 genes or no control genes among them,
        values are not finite or look like raw counts, var names are not unique, a pair of rates is not increasing, or
        `organism` is another.

    References
    ----------
    Schiebinger et al. (2019), *Optimal-transport analysis of single-cell gene expression identifies developmental
    trajectories in reprogramming*, Cell 176:928 (rates and curves); Tirosh et al. (2016), *Dissecting the
    multicellular ecosystem of metastatic melanoma by single-cell RNA-seq*, Science 352:189 (cell cycle); Liberzon et
    al. (2015), *The Molecular Signatures Database hallmark gene set collection*, Cell Systems 1:417 (apoptosis).

    Examples
    --------
    >>> sg.tl.score_growth(adata, organism="mouse")  # doctest: +SKIP
    >>> sg.tl.fit_trajectory(adata, "day", growth_key="growth_rate")  # doctest: +SKIP
    """
    _check(adata, organism, birth, death, key_added)
    values = read_features(adata, layer, slice(None))
    _refuse_counts(values, f"{layer_label(layer)} of `adata`")
    sets = {"proliferation": (proliferation, PROLIFERATION), "apoptosis": (apoptosis, APOPTOSIS)}
    seed, scores = seed_of(rng) % 2**32, {}
    for name, (own, standard) in sets.items():
        wanted = (
            own
            if own is not None
            else standard
            if organism == "human"
            else [gene.capitalize() for gene in standard]
        )
        scores[name] = _score(
            values, adata.var_names, _found(wanted, name, adata.var_names, organism), name, seed
        )
    rate = _logistic(scores["proliferation"], birth, BIRTH_CURVE) - _logistic(
        scores["apoptosis"], death, DEATH_CURVE
    )

    if copy:
        adata = adata.to_memory(copy=True) if adata.isbacked else adata.copy()
    with writing():
        adata.obs[key_added] = rate
        for name, score in scores.items():
            adata.obs[f"{key_added}_{name}"] = score
    return adata if copy else None


def _check(
    adata: AnnData,
    organism: str,
    birth: tuple[float, float],
    death: tuple[float, float],
    key_added: str,
) -> None:
    check_anndata(adata)
    Keys(key_added)
    if organism not in ("human", "mouse"):
        raise ValueError(
            f"`organism={organism!r}` must be 'human' or 'mouse'; for another name the genes by "
            "`proliferation` and `apoptosis`."
        )
    for name, rates in (("birth", birth), ("death", death)):
        if len(rates) != 2 or not 0 <= rates[0] < rates[1] < np.inf:
            raise ValueError(
                f"`{name}` is {rates}: give the lowest and the highest rate, not negative."
            )
    if not adata.var_names.is_unique:
        raise ValueError(
            "var names of `adata` are not unique: call `adata.var_names_make_unique()`."
        )
    if adata.n_vars < MIN_FEATURES:
        raise ValueError(
            f"`adata` has {adata.n_vars} genes: a score compares genes with others of like expression and needs at "
            f"least {MIN_FEATURES}; pass cells with all genes."
        )


def _refuse_counts(values: Values, label: str) -> None:
    entries = values.data if sparse.issparse(values) else values
    if (
        entries.size
        and entries.min() >= 0
        and entries.max() > 1
        and (entries == np.round(entries)).all()
    ):
        raise ValueError(
            f"{label} looks like raw counts, whole numbers up to {entries.max():g}: run `sc.pp.normalize_total(adata)` "
            "and `sc.pp.log1p(adata)` first, or name log-normalised values with `layer`."
        )


def _found(wanted: Sequence[str], name: str, var_names: pd.Index, organism: str) -> list[str]:
    """Genes of a set that are there, or raise when they are too few to tell."""
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    found = [gene for gene in wanted if gene in var_names]
    if wanted and len(found) < MIN_GENES:
        raise ValueError(
            f"{len(found)} of the {len(wanted)} genes of `{name}` are in var_names, at least {MIN_GENES} are needed: "
            f"looked for {organism} symbols such as {', '.join(wanted[:3])}, var_names are such as "
            f"{', '.join(map(str, var_names[:3]))}. Set `organism`, use gene symbols as var_names, pass cells with "
            f"all genes, or name your own with `{name}`."
        )
    if len(found) < len(wanted):
        missing = ", ".join(gene for gene in wanted if gene not in var_names)
        logger.info(
            "%s: %d of %d genes found; not there: %s", name, len(found), len(wanted), missing
        )
    return found


def _score(
    values: Values, var_names: pd.Index, genes: list[str], name: str, seed: int
) -> np.ndarray:
    """Score a set of genes on an AnnData of its own; zeros for an empty set."""
    if not genes:
        return np.zeros(values.shape[0])
    cells = AnnData(values, var=pd.DataFrame(index=var_names))
    state = np.random.get_state()  # noqa: NPY002  score_genes seeds the global generator, which is the user's
    try:
        sc.tl.score_genes(cells, genes, score_name=name, random_state=seed, use_raw=False)
    except RuntimeError as error:
        raise ValueError(
            f"`{name}` leaves no control genes to compare with: pass cells with all genes."
        ) from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return cells.obs[name].to_numpy()


def _logistic(
    score: np.ndarray, rates: tuple[float, float], curve: tuple[float, float]
) -> np.ndarray:
    """Schiebinger et al. (2019), supplement: a rate that rises from low to high around a centre."""
    (low, high), (centre, width) = rates, curve
    return low + (high - low) / (1 + np.exp(-4 * (score - centre) / width))
