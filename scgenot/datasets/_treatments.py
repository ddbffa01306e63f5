"""Public cells with and without treatment."""

from anndata import AnnData

from scgenot.datasets._fetch import only_prepared


def kang_ifnb() -> AnnData:
    """Load blood cells of eight donors, with and without interferon beta, from `SCGENOT_DATA`.

    It cannot be downloaded: the published file is in a format of R. A part of the published set.

    Returns
    -------
    AnnData, 2,000 x 9,015, sparse raw counts in `X`, with

    `obs["condition"]`
        `"ctrl"` or `"stim"`, 1,000 cells each.
    `obs["donor"]`
        One of eight; `"unmatched"` (26 cells) or `"doublet/amb"` (3) where it is not known. Joined
        by barcode from `obs["demuxlet_best"]`.
    `obs["predicted_type"]`, `obs["predicted_prob"]`
        Cell type by a logistic regression on labelled cells of the same experiment, and its
        probability. It knows five types: dendritic cells, megakaryocytes and NK cells are forced
        into them.
    `obs["muscat_cell_type"]`
        The published type of the 114 cells that have one, else `"NA"`.

    Raises
    ------
    FileNotFoundError
        When `SCGENOT_DATA` has no `kang_ifnb/kang_ifnb.h5ad`.

    Notes
    -----
    Kang et al. 2018, Nature Biotechnology 36:89. Counts from the repository immunogenomics/harmony,
    commit df19af2, `data/pbmc_stim.RData`, licence GPL-3; donors from
    yelabucsf/demuxlet_paper_code, commit ec493d3, which states no licence.

    Examples
    --------
    >>> adata = sg.datasets.kang_ifnb()
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> sg.tl.embed(adata)
    >>> sg.tl.fit_perturbation(adata, "condition", "ctrl", covariates=["predicted_type"])
    """
    return only_prepared(
        "kang_ifnb/kang_ifnb",
        "The published file is in a format of R: https://github.com/immunogenomics/harmony, "
        "commit df19af2, data/pbmc_stim.RData.",
    )


def ova_tcell_doses() -> AnnData:
    """Load T cells activated by four doses of ovalbumin, by flow cytometry, from `SCGENOT_DATA`.

    It cannot be downloaded: the published files are in a format of cytometers (FCS). 1,500 events
    of each of 32 samples, compensated, arcsinh of values divided by 150.

    Returns
    -------
    AnnData, 48,000 x 8, with

    `obs["ova_conc"]`
        Dose: 0, 0.005, 0.05 or 0.5.
    `obs["treatment"]`
        `"Stim-A"` to `"Stim-D"`, named as published.
    `obs["sample"]`
        One of 32: two of each dose and treatment.
    `obs["crude_type"]`
        `"CD4_T"`, `"CD8_T"`, `"DC"` or `"other"`, a rough gate.
    `obs["FSC-A"]`, `obs["SSC-A"]`, `obs["n_gated"]`
        As measured.

    Raises
    ------
    FileNotFoundError
        When `SCGENOT_DATA` has no `ova_tcell_doses/ova_flow.h5ad`.

    Notes
    -----
    Dead cells are not removed. The effect of dose is clearest in CD69 of `CD4_T` with `Stim-C` and
    `Stim-D`, weak elsewhere. From the repository DillonHammill/CytoExploreRData, commit 488edf0,
    `inst/extdata/Activation`, licence GPL-2; a random subsample of it.

    Examples
    --------
    >>> adata = sg.datasets.ova_tcell_doses()
    >>> chosen = (adata.obs["treatment"] == "Stim-C") & (adata.obs["crude_type"] == "CD4_T")
    >>> adata = adata[chosen].copy()
    """
    return only_prepared(
        "ova_tcell_doses/ova_flow",
        "The published files are FCS: https://github.com/DillonHammill/CytoExploreRData, "
        "commit 488edf0, inst/extdata/Activation.",
    )
