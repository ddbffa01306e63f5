"""Generative entropic neural optimal transport for single-cell data.

A task consists of pairs: a source population, a target population and a condition. A solver
(:mod:`scgenot.ot`) computes the coupling of a pair, a cost and two potentials. A velocity field
(:mod:`scgenot.flow`) learns to transport noise, given a source cell, to the targets of that cell
under the coupling; :class:`~scgenot.model.Genot` is the model. These modules work on arrays.
:mod:`scgenot.tl` makes pairs of the cells of an AnnData, fits, and writes the results, which
:mod:`scgenot.get` reads and :mod:`scgenot.pl` plots.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see of the names that __getattr__ finds
    from scgenot import baselines, datasets, flow, get, metrics, model, ot, pl, tl
    from scgenot._settings import settings
    from scgenot.cells import tasks
    from scgenot.model import Genot
    from scgenot.pair import Link, Pair, Question

    __version__: str

# where each name of the face is; the others are modules of their own
PLACES = {
    "Genot": "scgenot.model",
    "Link": "scgenot.pair",
    "Pair": "scgenot.pair",
    "Question": "scgenot.pair",
    "settings": "scgenot._settings",
    "tasks": "scgenot.cells",
}
__all__ = [
    "Genot",
    "Link",
    "Pair",
    "Question",
    "baselines",
    "datasets",
    "flow",
    "get",
    "metrics",
    "model",
    "ot",
    "pl",
    "settings",
    "tasks",
    "tl",
]


# torch, anndata and matplotlib take seconds to import: each is loaded when a name that needs it is
# first used
def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version

        value = version(__name__)
    elif name in PLACES:
        home = import_module(PLACES[name])
        value = getattr(home, name, None) or import_module(f"{PLACES[name]}.{name}")
    elif name in __all__:
        value = import_module(f"scgenot.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # so that this function is asked once a name
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
