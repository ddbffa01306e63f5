"""Progress bars: shown in terminals and notebooks, quiet in logs."""

from collections.abc import Iterable


def progress_bar(items: Iterable | None = None, *, shown: bool, **options):
    """Return a bar over items, or one to update by hand; hidden where nobody looks at it."""
    from tqdm.auto import tqdm

    # None leaves a bar out where the output is neither a terminal nor a notebook
    return tqdm(items, disable=None if shown else True, **options)
