"""Data sets with known answers."""

from scgenot.datasets._twins import twins

__all__ = ["twins"]
