"""Plots of the results of a fit."""

from scgenot.pl._calibration import calibration
from scgenot.pl._choice import choice
from scgenot.pl._coupling import coupling
from scgenot.pl._dose_response import dose_response
from scgenot.pl._evaluation import evaluation
from scgenot.pl._fate import fate
from scgenot.pl._growth import growth
from scgenot.pl._interpolation import interpolation
from scgenot.pl._perturbation import perturbation
from scgenot.pl._population_distances import population_distances
from scgenot.pl._populations import populations
from scgenot.pl._push import pull, push
from scgenot.pl._response import response
from scgenot.pl._response_heatmap import response_heatmap
from scgenot.pl._score_cells import score_cells
from scgenot.pl._training import training
from scgenot.pl._trajectory import trajectory
from scgenot.pl._transition import transition
from scgenot.pl._translation import translation
from scgenot.pl._velocity import velocity

__all__ = [
    "calibration",
    "choice",
    "coupling",
    "dose_response",
    "evaluation",
    "fate",
    "growth",
    "interpolation",
    "perturbation",
    "population_distances",
    "populations",
    "pull",
    "push",
    "response",
    "response_heatmap",
    "score_cells",
    "training",
    "trajectory",
    "transition",
    "translation",
    "velocity",
]
