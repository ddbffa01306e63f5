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
    """Estimate growth rates, birth minus death, from proliferation and apoptosis genes.

    Each set of genes is scored by :func:`scanpy.tl.score_genes`: mean expression minus that of
    control genes with similar expression. A logistic function converts the score to a rate, as in
    Waddington-OT and moscot:

        `rate(score) = low + (high - low) / (1 + exp(-4 (score - centre) / width))`

    with centre .25 and width .5 for births, centre .1 and width .2 for deaths, and rates from .3 to
    1.7 per day. Over a step `dt` a cell then has `exp((birth - death) dt)` descendants. The growth
    rate of a cell with scores of 0 is 0. The result is a prior, which an unbalanced coupling
    corrects. The functions assume scores of a few tenths. If values are on another scale (for
    example counts per 10,000 of a few hundred genes), most cells get the lowest or highest rate:
    inspect the columns before you use them.

    Parameters
    ----------
    adata
        Log-normalised expression of all genes, not only of highly variable ones: many genes of the
        sets vary little.
    organism
        Species of the gene symbols; mouse symbols are the human symbols with only the first letter
        capitalized.
    proliferation
        Proliferation genes. None for the 43 genes of G1/S and the 54 genes of G2/M of Tirosh et al.
        (2016), with old and new names. With an empty sequence, the score is 0 for all cells.
    apoptosis
        Apoptosis genes. None for 27 genes of the hallmark apoptosis set of MSigDB that execute or
        induce apoptosis: caspases, pro-apoptotic BCL-2 proteins, death receptors, and targets of
        p53 and stress.
    birth, death
        Lowest and highest rate **per unit of time of your data**. The defaults are per day; for
        times in hours, divide them by 24.
    layer
        Key of `layers` to use instead of `X`.
    key_added
        Name of the column of rates, and prefix of the columns of scores.
    rng
        Seed of the choice of control genes.
    copy
        Return an annotated copy and leave `adata` unchanged.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key_added="growth_rate"`:

    `obs["growth_rate"]`
        Birth rate minus death rate per unit of time, for `fit_trajectory(...,
        growth_key="growth_rate")`.
    `obs["growth_rate_proliferation"]`, `obs["growth_rate_apoptosis"]`
        The two scores.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData.
    KeyError
        When `layer` is not there.
    ValueError
        When fewer than 5 genes of a set are present, there are fewer than 50 genes or no control
        genes among them, values are not finite or look like raw counts, var names are not unique, a
        pair of rates is not increasing, or `organism` is unknown.

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
