"""Warnings that point at the line of the user's code."""

import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)


def warn_user(message: str) -> None:
    """Warn of a risk or a mistake of the user's, at the line from which scgenot was called."""
    frame, level = sys._getframe(), 1
    # Python 3.12 has `skip_file_prefixes` for this
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)
