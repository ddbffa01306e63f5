"""Data sets with known answers."""

from scgenot.datasets._branching import branching
from scgenot.datasets._screen import screen
from scgenot.datasets._twins import twins

__all__ = ["branching", "screen", "twins"]
