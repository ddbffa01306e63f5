"""Learners of the conditional distribution of a plan, and the models that they return."""

from scgenot.model.bridge import MixtureBridge
from scgenot.model.checkpoint import Checkpoint
from scgenot.model.cloud_flow import CloudFlow
from scgenot.model.cloud_matching import CloudPopulations
from scgenot.model.distill import distill
from scgenot.model.extrapolation import LinearExtrapolation
from scgenot.model.extrapolation_fit import fit_extrapolation
from scgenot.model.files import ModelFileError
from scgenot.model.genot import Genot
from scgenot.model.growth import GrowthNetwork, fit_growth
from scgenot.model.learner import FlowMatching
from scgenot.model.learning import Learned, Run
from scgenot.model.light_bridge import LightBridge
from scgenot.model.map import TransportMap
from scgenot.model.mixture import MixtureLaw
from scgenot.model.monge import MongeMap
from scgenot.model.population_flow import PopulationFlow
from scgenot.model.population_matching import GaussianPopulations, PopulationData
from scgenot.model.sparsity import Sparsity
from scgenot.model.state import TrainState
from scgenot.model.student import Distilled
from scgenot.model.train import train
from scgenot.model.validation import Validation, held_out

__all__ = [
    "Checkpoint",
    "CloudFlow",
    "CloudPopulations",
    "Distilled",
    "FlowMatching",
    "GaussianPopulations",
    "Genot",
    "GrowthNetwork",
    "Learned",
    "LightBridge",
    "LinearExtrapolation",
    "MixtureBridge",
    "MixtureLaw",
    "ModelFileError",
    "MongeMap",
    "PopulationData",
    "PopulationFlow",
    "Run",
    "Sparsity",
    "TrainState",
    "TransportMap",
    "Validation",
    "distill",
    "fit_extrapolation",
    "fit_growth",
    "held_out",
    "train",
]
