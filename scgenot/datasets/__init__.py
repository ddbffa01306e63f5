"""Data sets: simulated ones with known answers, and public ones."""

from scgenot.datasets._branching import branching
from scgenot.datasets._cohort import cohort
from scgenot.datasets._gaussians import gaussians
from scgenot.datasets._mixtures import mixtures
from scgenot.datasets._screen import screen
from scgenot.datasets._sparse_drug import sparse_drug
from scgenot.datasets._time_courses import klein_mesc, larry_clones, worm_embryo
from scgenot.datasets._treatments import kang_ifnb, ova_tcell_doses
from scgenot.datasets._twins import twins
from scgenot.datasets._two_modalities import (
    citeseq_pbmc10k,
    scgem_reprogramming,
    snareseq_celllines,
)

__all__ = [
    "branching",
    "citeseq_pbmc10k",
    "cohort",
    "gaussians",
    "kang_ifnb",
    "klein_mesc",
    "larry_clones",
    "mixtures",
    "ova_tcell_doses",
    "scgem_reprogramming",
    "screen",
    "snareseq_celllines",
    "sparse_drug",
    "twins",
    "worm_embryo",
]
