"""Tools: AnnData in, results written back to it."""

from scgenot.tl._embed import embed
from scgenot.tl._project import decode, project

__all__ = ["decode", "embed", "project"]
