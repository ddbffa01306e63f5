"""Rates of birth and death from scores of gene sets."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.embedding.features import Values, are_whole, entries, read_features, some
from scgenot.cells.gene_sets import APOPTOSIS, PROLIFERATION
from scgenot.cells.read import check_unique, layer_label

logger = logging.getLogger("scgenot")

# centre and width of the logistic maps of Schiebinger et al. (2019); at a score of 0 both give
# the same rate
BIRTH_CURVE = (0.25, 0.5)
DEATH_CURVE = (0.1, 0.2)

MIN_GENES = 5  # of a set, to be found
MIN_FEATURES = 50  # to draw control genes from


def growth_rates(
    adata: AnnData,
    *,
    organism: str,
    proliferation: Sequence[str] | None,
    apoptosis: Sequence[str] | None,
    birth: tuple[float, float],
    death: tuple[float, float],
    layer: str | None,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return the rate of each cell ("") and the two scores, by suffix of their column."""
    _check(adata, organism, birth, death)
    values = read_features(adata, layer, slice(None))
    _refuse_counts(values, f"{layer_label(layer)} of `adata`")
    sets = {"proliferation": (proliferation, PROLIFERATION), "apoptosis": (apoptosis, APOPTOSIS)}
    scores = {}
    for name, (genes, standard) in sets.items():
        if genes is None:
            genes = standard if organism == "human" else [gene.capitalize() for gene in standard]
        found = _found(genes, name, adata.var_names, organism)
        scores[name] = _score(values, adata.var_names, found, name, seed)
    births = _logistic(scores["proliferation"], birth, BIRTH_CURVE)
    deaths = _logistic(scores["apoptosis"], death, DEATH_CURVE)
    return {"": births - deaths} | {f"_{name}": score for name, score in scores.items()}


def _check(
    adata: AnnData, organism: str, birth: tuple[float, float], death: tuple[float, float]
) -> None:
    """Refuse another organism, rates that do not increase, and cells without enough genes."""
    if organism not in ("human", "mouse"):
        raise ValueError(
            f"`organism={organism!r}` must be 'human' or 'mouse'; for another name the genes by "
            "`proliferation` and `apoptosis`."
        )
    for name, rates in (("birth", birth), ("death", death)):
        if len(rates) != 2 or not 0 <= rates[0] < rates[1] < np.inf:
            raise ValueError(
                f"`{name}` must be the lowest and the highest rate, not negative; found {rates}."
            )
    check_unique(adata, "var")
    if adata.n_vars < MIN_FEATURES:
        raise ValueError(
            f"`adata` has {adata.n_vars} genes: a score compares genes with others of similar "
            f"expression and needs at least {MIN_FEATURES}; pass cells with all genes."
        )


def _refuse_counts(values: Values, label: str) -> None:
    """Raise for whole numbers that are not binary."""
    found = entries(values)
    if found.size and found.min() >= 0 and found.max() > 1 and are_whole(values):
        raise ValueError(
            f"{label} looks like raw counts, whole numbers up to {found.max():g}: run "
            "`sc.pp.normalize_total(adata)` and `sc.pp.log1p(adata)` first, or name log-normalised "
            "values with `layer`."
        )


def _found(wanted: Sequence[str], name: str, var_names: pd.Index, organism: str) -> list[str]:
    """Genes of a set that are there, or raise when they are too few to tell."""
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    found = [gene for gene in wanted if gene in var_names]
    if wanted and len(found) < MIN_GENES:
        raise ValueError(
            f"{len(found)} of the {len(wanted)} genes of `{name}` are in var_names, at least "
            f"{MIN_GENES} are needed: looked for {organism} symbols such as {some(wanted[:3])}, "
            f"var_names are such as {some(var_names[:3])}. Set `organism`, use gene symbols as "
            f"var_names, pass cells with all genes, or name your own with `{name}`."
        )
    if len(found) < len(wanted):
        missing = ", ".join(gene for gene in wanted if gene not in var_names)
        logger.info(f"{name}: {len(found)} of {len(wanted)} genes found; not there: {missing}")
    return found


def _score(
    values: Values, var_names: pd.Index, genes: list[str], name: str, seed: int
) -> np.ndarray:
    """Score a set of genes on an AnnData of its own; zeros for an empty set."""
    import scanpy as sc

    if not genes:
        return np.zeros(values.shape[0])
    cells = AnnData(values, var=pd.DataFrame(index=var_names))
    # score_genes seeds the global generator, which is the user's
    state = np.random.get_state()  # noqa: NPY002
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
