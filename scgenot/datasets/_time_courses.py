"""Public time courses."""

import warnings
from pathlib import Path

import numpy as np
from anndata import AnnData, OldFormatWarning, read_h5ad

from scgenot.datasets._fetch import Originals, fetch, only_prepared, prepared
from scgenot.datasets._tables import features_by_cells

KLEIN = Originals(
    "https://raw.githubusercontent.com/tarohi24/tmscc/5e0f30fd009fe827ac2263f369c099a5bbc91a48/tmscc/data/klein",
    {
        "profile.txt": "476469c10c67eb3802edfe57f86c85c7bf305a8157cd250b4ddb8e722f76173e",
        "labels.txt": "d844fc0c7117225d1def14a7a5546a6f41bbbccf5f0016e2c42323c4e5721d6c",
    },
)
LARRY = Originals(
    "https://raw.githubusercontent.com/AllonKleinLab/cospar/ca54cad8a9db9a72152ba8a8b6d67d57eace4acb/tests/data",
    {
        "test_adata_preprocessed.h5ad": (
            "3c9a5d728f402ff2b87cfecb3cd6639a7fa342fe3a7d44ad57ac526a5ef674af"
        )
    },
)


def klein_mesc(*, progress: bool = True) -> AnnData:
    """Load mouse embryonic stem cells 0, 2, 4 and 7 days after LIF was withdrawn (inDrop).

    A part of the published set: 1,000 of its 2,717 cells and 900 highly expressed genes, raw
    counts.

    Parameters
    ----------
    progress
        Whether to show a progress bar while downloading.

    Returns
    -------
    AnnData, 1,000 x 900, sparse counts in `X`, with

    `obs["day"]`
        0 (359 cells), 2 (101), 4 (248) or 7 (292).

    Raises
    ------
    FileNotFoundError
        When the data are neither in `SCGENOT_DATA` nor in the cache, and cannot be downloaded.
    ValueError
        When a download is not the file that was expected.

    Notes
    -----
    Each day is its own batch with its own depth: normalize before use, and do not read every
    difference between days as development. `Rn28s1` and `Rn45s` are ribosomal RNA: drop them. Klein
    et al. 2015, Cell 161:1187, GSE65525. From the repository tarohi24/tmscc, licence MIT, which cut
    the set down; with `SCGENOT_DATA`, `klein_mesc/klein_mesc.h5ad` is read instead.

    Examples
    --------
    >>> adata = sg.datasets.klein_mesc()
    >>> adata = adata[:, ~adata.var_names.isin(["Rn28s1", "Rn45s"])].copy()
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> sg.tl.embed(adata)
    >>> sg.tl.fit_trajectory(adata, "day")
    """
    name = "klein_mesc/klein_mesc"
    found = prepared(name)
    return found[0] if found else _klein(*fetch(KLEIN, name, progress=progress))


def larry_clones(*, progress: bool = True) -> AnnData:
    """Load blood progenitors in culture with their clones, days 2, 4 and 6 (LARRY barcodes).

    A part of the published set: cells of one clone share an ancestor, so that clones seen on two
    days or more tell which fates are true.

    Parameters
    ----------
    progress
        Whether to show a progress bar while downloading.

    Returns
    -------
    AnnData, 781 x 2,481, with counts normalised but not logarithmic in `X`, sparse, and

    `obs["day"]`
        2 (34 cells only), 4 (316) or 6 (431); the same as text in `obs["time_info"]`.
    `obs["state_info"]`
        Cell type, twelve of them; `"undiff"` for progenitors.
    `obs["n_counts"]`
        Sum of counts.
    `obsm["X_clone"]`
        Cells x 339 clones, sparse, true where the cell is of the clone.
    `obsm["X_pca"]`, `obsm["X_emb"]`, `obsm["X_umap"]`
        As published, the last two in two dimensions; other versions of the first two end in `_old`.

    Raises
    ------
    FileNotFoundError
        When the data are neither in `SCGENOT_DATA` nor in the cache, and cannot be downloaded.
    ValueError
        When a download is not the file that was expected.

    Notes
    -----
    Weinreb et al. 2020, Science 367:eaaw3381. From the repository AllonKleinLab/cospar, licence MIT
    (Wang et al. 2022, Nature Biotechnology 40:1066); with `SCGENOT_DATA`, `larry_clones/larry.h5ad`
    is read instead.

    Examples
    --------
    >>> adata = sg.datasets.larry_clones()
    >>> sg.tl.fit_trajectory(adata, "day")
    """
    name = "larry_clones/larry"
    found = prepared(name)
    return found[0] if found else _larry(*fetch(LARRY, name, progress=progress))


def worm_embryo() -> AnnData:
    """Load amphid neurons of the developing worm C. elegans, with lineages, from `SCGENOT_DATA`.

    It cannot be downloaded: the published files are in a format of R.

    Returns
    -------
    AnnData, 1,805 x 10,000, sparse raw counts in `X`, with

    `obs["time.point"]`
        When cells were collected: `"300_minutes"` (183), `"400_minutes"` (461), `"500_minutes"`
        (751) or `"mixed"` (410), which has no time of its own.
    `obs["embryo.time"]`, `obs["embryo.time.bin"]`
        Minutes, inferred by correlation with bulk samples, not measured.
    `obs["cell.type"]`, `obs["lineage"]`
        Both known for most cells: a ground truth of fates.

    and other columns of the paper.

    Raises
    ------
    FileNotFoundError
        When `SCGENOT_DATA` has no `worm_embryo/worm_embryo.h5ad`.

    Notes
    -----
    Packer et al. 2019, Science 365:eaax1971; the part of it that the tutorial of monocle3 uses.
    From the repository cole-trapnell-lab/monocle3, commit 1336cc9, `inst/extdata/worm_embryo`,
    licence of the package MIT.

    Examples
    --------
    >>> adata = sg.datasets.worm_embryo()
    >>> adata = adata[adata.obs["time.point"] != "mixed"].copy()
    """
    return only_prepared(
        "worm_embryo/worm_embryo",
        "The published files are in a format of R: https://github.com/cole-trapnell-lab/monocle3, "
        "commit 1336cc9, inst/extdata/worm_embryo.",
    )


def _klein(profile: Path, labels: Path) -> AnnData:
    adata = features_by_cells(profile)
    adata.obs["day"] = np.loadtxt(labels, dtype=int)
    return adata


def _larry(file: Path) -> AnnData:
    with warnings.catch_warnings():
        # the published file is of an old format
        warnings.simplefilter("ignore", OldFormatWarning)
        adata = read_h5ad(file)
    adata.obs["day"] = adata.obs["time_info"].astype(str).astype(int)
    return adata
