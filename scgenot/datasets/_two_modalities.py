"""Public cells in which two modalities were measured."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.datasets._fetch import Originals, fetch, prepared
from scgenot.datasets._tables import features_by_cells

SNARESEQ = Originals(
    "https://raw.githubusercontent.com/rsinghlab/SCOT/14649be6e14017dcfe7ba619091b33d1df55f6a9/data/SNARE",
    {
        "SNAREseq_rna_feat.npy": "a8a2c2bbfc036dea5b350d01dd2180b93bb3b1c0008bed49493080348da96a9b",
        "SNAREseq_atac_feat.npy": (
            "80d685b6517c100a7fd612846ad38209b64ed9caf095d1630af5a1d7797bd79c"
        ),
        "SNAREseq_metadata.txt": "4bfd15c9205ff47e4d37bb0f9d7a9efbe9131b6f660a80f8ad22fccb61c87562",
    },
)
CITESEQ = Originals(
    "https://raw.githubusercontent.com/YosefLab/totalVI_reproducibility"
    "/27d65a9c49182f39df0c4325249bc7dc8e663dd0/data/raw_data",
    {
        "pbmc10k_harmo_rna.csv.gz": (
            "77cacfec0e17dce2a9b00c479a07a162e29dc9263ff5dc4cb5235df4679baba9"
        ),
        "pbmc10k_harmo_pro.csv.gz": (
            "184afe670d264b598e24cca73ccfd4f07c7bde696b8fb4cb53ba62d89b13f048"
        ),
    },
)
SCGEM = Originals(
    "https://raw.githubusercontent.com/caokai1073/Pamona/44322c487eb907cf021d5ee7bd1a3ff3f124c14b/scGEM",
    {
        "expression.txt": "8d22bb887a125484c99910675329492e43179cffcde73b5a7e78c07dffa4ee61",
        "methylation.txt": "9f539a051665c89cc1a5e007a0a03a1e914f7421b44cdfb55d3dcbe9a69f8258",
        "expression_type.txt": "348b88a15d72e75ccf15129fddbdd86be9a486b3ad579bc192ed2118ecc918f3",
        "GeneName_experssion.txt": (
            "39ad2ff32eae991abfc81c73e3b189d3770da65a3058a75c3f2d07a57d4ea213"
        ),
        "GeneName_methylation.txt": (
            "ba981b78d9ad0ad7f45baca33ff81f8c00aab487d53955cf0ee1c2c41099b8c0"
        ),
    },
)
STAGES = ("BJ", "d8", "d16T+", "d24T+", "iPS")
# counts from which on a cell has a protein: between the two modes of each
GATES = {"CD3": 278, "CD4": 69, "CD8a": 262, "CD14": 174, "CD16": 189, "CD19": 70, "CD56": 65}


def snareseq_celllines(*, progress: bool = True) -> tuple[AnnData, AnnData]:
    """Load four mixed cell lines, RNA and open chromatin of the same 1,047 cells (SNARE-seq).

    Low-dimensional representations as published, not the counts: 10 principal components of RNA, 19
    cisTopic topics of chromatin, neither scaled.

    Parameters
    ----------
    progress
        Whether to show a progress bar while downloading.

    Returns
    -------
    RNA (1,047 x 10) and ATAC (1,047 x 19), cells in the same order, with

    `obs["cell_type"]`
        `"BJ"`, `"GM"`, `"H1"` or `"K562"`, found from RNA.

    Raises
    ------
    FileNotFoundError
        When the data are neither in `SCGENOT_DATA` nor in the cache, and cannot be downloaded.
    ValueError
        When a download is not the file that was expected.

    Notes
    -----
    Chen, Lake & Zhang 2019, Nature Biotechnology 37:1452. From the repository rsinghlab/SCOT,
    licence MIT; with `SCGENOT_DATA`, `snareseq_celllines/rna_pca10.h5ad` and
    `snareseq_celllines/atac_topics19.h5ad` are read instead.

    Examples
    --------
    >>> rna, atac = sg.datasets.snareseq_celllines()
    >>> sg.tl.fit_translation(atac, rna, use_rep="X")
    """
    names = "snareseq_celllines/rna_pca10", "snareseq_celllines/atac_topics19"
    found = prepared(*names) or _snareseq(*fetch(SNARESEQ, *names, progress=progress))
    return tuple(found)


def citeseq_pbmc10k(*, progress: bool = True) -> tuple[AnnData, AnnData]:
    """Load blood cells, RNA and 14 surface proteins of the same 6,855 cells (CITE-seq).

    The cells are of a healthy donor. Raw counts. Reading the published text takes some seconds; an
    h5ad in `SCGENOT_DATA` does not.

    Parameters
    ----------
    progress
        Whether to show a progress bar while downloading.

    Returns
    -------
    RNA (6,855 x 4,000 highly variable genes, sparse) and protein (6,855 x 14), cells in the same
    order, with

    `obs["gated_type"]`
        `"CD4_T"`, `"CD8_T"`, `"T_other"`, `"B"`, `"NK"`, `"CD14_mono"`, `"CD16_mono"` or `"other"`:
        our gates on counts of seven of the proteins, and so not independent of them. Do not score a
        translation to protein by it.

    Raises
    ------
    FileNotFoundError
        When the data are neither in `SCGENOT_DATA` nor in the cache, and cannot be downloaded.
    ValueError
        When a download is not the file that was expected.

    Notes
    -----
    10x Genomics, "10k PBMCs from a Healthy Donor, Gene Expression with a Panel of TotalSeq-B
    Antibodies" (CC BY 4.0), as filtered for totalVI (Gayoso et al. 2021, Nature Methods 18:272).
    From the repository YosefLab/totalVI_reproducibility, which states no licence; with
    `SCGENOT_DATA`, `citeseq_pbmc10k/rna.h5ad` and `citeseq_pbmc10k/protein.h5ad` are read instead.

    Examples
    --------
    >>> rna, protein = sg.datasets.citeseq_pbmc10k()
    >>> sg.tl.embed(rna, method="pca")
    >>> sg.tl.embed(protein, method="clr")
    >>> sg.tl.fit_translation(rna, protein)
    """
    names = "citeseq_pbmc10k/rna", "citeseq_pbmc10k/protein"
    found = prepared(*names) or _citeseq(*fetch(CITESEQ, *names, progress=progress))
    return tuple(found)


def scgem_reprogramming(*, progress: bool = True) -> tuple[AnnData, AnnData]:
    """Load reprogrammed fibroblasts, expression and methylation of the same 177 cells (scGEM).

    Parameters
    ----------
    progress
        Whether to show a progress bar while downloading.

    Returns
    -------
    RNA (177 x 34 genes by qPCR) and methylation (177 x 27 sites, mostly 0 or 1), cells in the same
    order, with

    `obs["stage"]`
        `"BJ"`, `"d8"`, `"d16T+"`, `"d24T+"` or `"iPS"`, in this order.
    `obs["stage_index"]`
        The same from 0 to 4.

    Raises
    ------
    FileNotFoundError
        When the data are neither in `SCGENOT_DATA` nor in the cache, and cannot be downloaded.
    ValueError
        When a download is not the file that was expected.

    Notes
    -----
    Tiny. A few names have a typographic minus, as published (`NKX2−5`). Cheow et al. 2016, Nature
    Methods 13:833. From the repository caokai1073/Pamona, licence MIT; with `SCGENOT_DATA`,
    `scgem_reprogramming/rna.h5ad` and `scgem_reprogramming/methylation.h5ad` are read instead.

    Examples
    --------
    >>> rna, methylation = sg.datasets.scgem_reprogramming()
    >>> sg.tl.fit_translation(methylation, rna, use_rep="X")
    """
    names = "scgem_reprogramming/rna", "scgem_reprogramming/methylation"
    found = prepared(*names) or _scgem(*fetch(SCGEM, *names, progress=progress))
    for modality in found:
        stage = modality.obs["stage_index"]
        modality.obs["stage"] = pd.Categorical.from_codes(stage, STAGES, ordered=True)
    return tuple(found)


def _snareseq(rna: Path, atac: Path, metadata: Path) -> list[AnnData]:
    table = pd.read_csv(metadata, sep="\t")
    cell_type = pd.Categorical(table["CellType"])
    obs = pd.DataFrame({"cell_type": cell_type}, index=table["Barcode"].to_list())
    return [_dense(np.load(rna), obs, "rna_pca10"), _dense(np.load(atac), obs, "atac_topics19")]


def _dense(values: np.ndarray, obs: pd.DataFrame, name: str) -> AnnData:
    features = [f"{name}_{i}" for i in range(values.shape[1])]
    return AnnData(values.astype(np.float32), obs=obs.copy(), var=pd.DataFrame(index=features))


def _citeseq(rna: Path, protein: Path) -> list[AnnData]:
    modalities = [features_by_cells(rna), features_by_cells(protein)]
    modalities[1].X = modalities[1].X.toarray()
    modalities[1].var_names = modalities[1].var_names.str.removesuffix("_TotalSeqB")
    for modality in modalities:
        modality.obs["gated_type"] = _gated(modalities[1])
    return modalities


def _gated(protein: AnnData) -> pd.Categorical:
    """Cell types by the proteins that a cell has; the first gate that fits."""
    levels = protein.to_df()
    has = {name: levels[name].to_numpy() > least for name, least in GATES.items()}
    lymphoid = ~has["CD14"] & ~has["CD19"]
    gates = {
        "CD4_T": lymphoid & has["CD3"] & has["CD4"] & ~has["CD8a"],
        "CD8_T": lymphoid & has["CD3"] & has["CD8a"] & ~has["CD4"],
        "T_other": lymphoid & has["CD3"],
        "NK": lymphoid & has["CD56"],
        "CD16_mono": lymphoid & has["CD16"],
        "B": ~has["CD3"] & has["CD19"] & ~has["CD14"],
        "CD14_mono": ~has["CD3"] & has["CD14"] & ~has["CD19"],
    }
    return pd.Categorical(np.select(list(gates.values()), list(gates), "other"))


def _scgem(rna: Path, methylation: Path, stages: Path, genes: Path, sites: Path) -> list[AnnData]:
    stage = np.loadtxt(stages).astype(int)
    obs = pd.DataFrame({"stage_index": stage}, index=[f"cell{i}" for i in range(len(stage))])
    return [
        AnnData(
            np.loadtxt(values).astype(np.float32),
            obs=obs.copy(),
            var=pd.DataFrame(index=names.read_text(encoding="utf-8").split()),
        )
        for values, names in ((rna, genes), (methylation, sites))
    ]
