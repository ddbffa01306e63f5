"""Growth rates from the genes that cells express."""

from collections.abc import Sequence
from typing import Literal

from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.growth_score import growth_rates
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_anndata, check_writable, copy_of
from scgenot.cells.write import write_slots


@typed
def score_growth(
    adata: AnnData,
    *,
    organism: Literal["human", "mouse"] = "human",
    proliferation: str | Sequence[str] | None = None,
    apoptosis: str | Sequence[str] | None = None,
    birth: tuple[float, float] = (0.3, 1.7),
    death: tuple[float, float] = (0.3, 1.7),
    layer: str | None = None,
    key_added: str = "growth_rate",
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | None:
    """Estimate growth rates, birth less death, from genes of division and of apoptosis.

    Each set of genes is scored by :func:`scanpy.tl.score_genes`: mean expression less that of
    control genes of like expression. A logistic curve turns the score into a rate, as in
    Waddington-OT and moscot:

        `rate(score) = low + (high - low) / (1 + exp(-4 (score - centre) / width))`

    with centre .25 and width .5 for births, centre .1 and width .2 for deaths, and rates from .3 to
    1.7 a day. Over a step `dt` a cell then leaves `exp((birth - death) dt)` cells. A cell whose
    scores are 0 neither grows nor shrinks. It is a prior: an unbalanced coupling corrects it where
    the populations disagree. The curves are made for scores of a few tenths; where values are on
    another scale (counts per 10,000 of a few hundred genes, say) most cells end up at the lowest or
    highest rate: look at the columns before using them.

    Parameters
    ----------
    adata
        Log-normalised expression of all genes, not only of variable ones: many genes of the sets
        vary little.
    organism
        Which symbols to look for; mouse ones are the human ones with only the first letter large.
    proliferation
        Genes of division. None for the 43 of G1/S and 54 of G2/M of Tirosh et al. (2016), under old
        and new names. An empty sequence leaves them out: the score is then 0 for all cells.
    apoptosis
        Genes of death, likewise. None for the 27 of MSigDB's hallmark set of apoptosis that carry
        it out or call for it: caspases, killers of the BCL-2 family, death receptors, and what p53
        and stress turn on.
    birth, death
        Lowest and highest rate, **per unit of your time**: the defaults are per day. For times in
        hours divide them by 24.
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
        Birth less death per unit of time; what `fit_trajectory(..., growth_key="growth_rate")`
        takes.
    `obs["growth_rate_proliferation"]`, `obs["growth_rate_apoptosis"]`
        The two scores.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData.
    KeyError
        When `layer` is not there.
    ValueError
        When fewer than 5 genes of a set are there, there are fewer than 50 genes or no control
        genes among them, values are not finite or look like raw counts, var names are not unique, a
        pair of rates is not increasing, or `organism` is another.

    References
    ----------
    Schiebinger et al. (2019), *Optimal-transport analysis of single-cell gene expression identifies
    developmental trajectories in reprogramming*, Cell 176:928 (rates and curves); Tirosh et al.
    (2016), *Dissecting the multicellular ecosystem of metastatic melanoma by single-cell RNA-seq*,
    Science 352:189 (cell cycle); Liberzon et al. (2015), *The Molecular Signatures Database
    hallmark gene set collection*, Cell Systems 1:417 (apoptosis).

    Examples
    --------
    >>> sg.tl.score_growth(adata, organism="mouse")  # doctest: +SKIP
    >>> sg.tl.fit_trajectory(adata, "day", growth_key="growth_rate")  # doctest: +SKIP
    """
    check_anndata(adata)
    check_writable(adata, copy)
    Keys(key_added)
    columns = growth_rates(
        adata,
        organism=organism,
        proliferation=proliferation,
        apoptosis=apoptosis,
        birth=birth,
        death=death,
        layer=layer,
        seed=seed_of(rng) % 2**32,
    )
    out = copy_of(adata) if copy else adata
    write_slots(out, obs={f"{key_added}{suffix}": values for suffix, values in columns.items()})
    return out if copy else None
