"""Progress bars: one line in terminals and notebooks, none in logs."""

import sys
from collections.abc import Iterable, Sized
from importlib.util import find_spec

from scgenot._settings import in_notebook, somebody_looks

MOST_LINES = 10  # of a bar where each update stays on record


def progress_bar(
    items: Iterable | None = None, *, shown: bool, total: int | None = None, **options
):
    """Return a bar over items, or one to update by hand; hidden where nobody looks at it."""
    from tqdm import tqdm

    # bars of one fit follow each other on one line
    options = {"leave": False, "dynamic_ncols": True, **options}
    if not (shown and somebody_looks()):
        options["disable"] = True
    elif in_notebook() and find_spec("ipywidgets"):
        from tqdm.notebook import tqdm
    elif in_notebook() or not sys.stderr.isatty():
        total = len(items) if total is None and isinstance(items, Sized) else total
        options |= {"miniters": max((total or 0) // MOST_LINES, 1), "mininterval": 0}
        options["maxinterval"] = float("inf")  # else tqdm lowers `miniters` of slow work
    return tqdm(items, total=total, **options)
