"""Plots of what a fit wrote."""

from scgenot.pl._coupling import coupling
from scgenot.pl._training import training
from scgenot.pl._trajectory import trajectory
from scgenot.pl._translation import translation

__all__ = ["coupling", "training", "trajectory", "translation"]
