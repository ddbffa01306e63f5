"""Flows: the path from noise to targets, the velocity field, and its integration."""

from scgenot.flow.condition import SetEncoder
from scgenot.flow.field import Field, VelocityField, bind
from scgenot.flow.integrator import ODE, SDE
from scgenot.flow.ode import divergence, integrate, log_density
from scgenot.flow.path import straight_path, stratified_times
from scgenot.flow.set_field import SetField

__all__ = [
    "ODE",
    "SDE",
    "Field",
    "SetEncoder",
    "SetField",
    "VelocityField",
    "bind",
    "divergence",
    "integrate",
    "log_density",
    "straight_path",
    "stratified_times",
]
