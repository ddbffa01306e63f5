"""Tools: fit, predict and evaluate on AnnData, and write the results to it."""

from scgenot.tl._annotate import annotate
from scgenot.tl._calibrate import calibrate
from scgenot.tl._cell_transition import cell_transition
from scgenot.tl._counterfactual import counterfactual
from scgenot.tl._coupling import coupling
from scgenot.tl._coverage import coverage
from scgenot.tl._decode import decode
from scgenot.tl._distill import distill
from scgenot.tl._embed import embed
from scgenot.tl._embed_populations import embed_populations
from scgenot.tl._evaluate import evaluate
from scgenot.tl._evaluate_populations import evaluate_populations
from scgenot.tl._fate import fate
from scgenot.tl._fit import fit
from scgenot.tl._fit_perturbation import fit_perturbation
from scgenot.tl._fit_populations import fit_populations
from scgenot.tl._fit_trajectory import fit_trajectory
from scgenot.tl._fit_translation import fit_translation
from scgenot.tl._interpolate import interpolate
from scgenot.tl._neighborhoods import neighborhoods
from scgenot.tl._population_distances import population_distances
from scgenot.tl._predict import predict
from scgenot.tl._project import project
from scgenot.tl._pull import pull
from scgenot.tl._push import push
from scgenot.tl._response import response
from scgenot.tl._score_cells import score_cells
from scgenot.tl._score_growth import score_growth
from scgenot.tl._score_populations import score_populations
from scgenot.tl._simulate import simulate
from scgenot.tl._simulate_populations import simulate_populations
from scgenot.tl._transfer import transfer
from scgenot.tl._velocity import velocity

__all__ = [
    "annotate",
    "calibrate",
    "cell_transition",
    "counterfactual",
    "coupling",
    "coverage",
    "decode",
    "distill",
    "embed",
    "embed_populations",
    "evaluate",
    "evaluate_populations",
    "fate",
    "fit",
    "fit_perturbation",
    "fit_populations",
    "fit_trajectory",
    "fit_translation",
    "interpolate",
    "neighborhoods",
    "population_distances",
    "predict",
    "project",
    "pull",
    "push",
    "response",
    "score_cells",
    "score_growth",
    "score_populations",
    "simulate",
    "simulate_populations",
    "transfer",
    "velocity",
]
