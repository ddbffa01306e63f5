"""Tools: AnnData in, results written back to it."""

from scgenot.tl._coupling import coupling
from scgenot.tl._embed import embed
from scgenot.tl._growth import score_growth
from scgenot.tl._perturbation import fit_perturbation
from scgenot.tl._predict import predict
from scgenot.tl._project import decode, project
from scgenot.tl._trajectory import fit_trajectory
from scgenot.tl._translation import fit_translation

__all__ = [
    "coupling",
    "decode",
    "embed",
    "fit_perturbation",
    "fit_trajectory",
    "fit_translation",
    "predict",
    "project",
    "score_growth",
]
