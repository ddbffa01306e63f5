"""A fit that chooses between candidates on held-out cells."""

from scgenot.fit.choice.choose import fit_chosen

__all__ = ["fit_chosen"]
