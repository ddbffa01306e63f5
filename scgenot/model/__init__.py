"""The model: a coupling's conditional law, learned by a velocity field."""

from scgenot.model.batches import held_out
from scgenot.model.genot import Genot
from scgenot.model.growth import GrowthNetwork, fit_growth
from scgenot.model.state import TrainState
from scgenot.model.train import TrainSettings, train
from scgenot.model.validation import Validation

__all__ = [
    "Genot",
    "GrowthNetwork",
    "TrainSettings",
    "TrainState",
    "Validation",
    "fit_growth",
    "held_out",
    "train",
]
