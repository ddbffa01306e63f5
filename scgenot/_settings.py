"""What holds for a whole session: where to compute, and whether to show progress."""

import os
import sys


class Settings:
    """Settings of a session, as `sg.settings`.

    Arguments of functions have precedence: `device="cpu"` uses the CPU whatever the settings, and
    `progress=False` shows no bar.

    Examples
    --------
    >>> sg.settings.device = "cpu"
    >>> sg.settings.progress = False
    """

    __slots__ = ("_device", "_progress")

    def __init__(self) -> None:
        self._device = None
        self._progress = None

    def __repr__(self) -> str:
        return f"Settings(device={self._device!r}, progress={self._progress!r})"

    @property
    def device(self):
        """Device of functions whose `device` is None; None for CUDA if available."""
        return self._device

    @device.setter
    def device(self, value) -> None:
        from scgenot._check import usable_device

        self._device = None if value is None else usable_device(value)

    @property
    def progress(self) -> bool | None:
        """Whether to show progress bars; None for terminals and notebooks, unless `CI` is set."""
        return self._progress

    @progress.setter
    def progress(self, value) -> None:
        if value not in (None, True, False):
            raise TypeError(f"`progress={value!r}` must be True, False or None.")
        self._progress = value


settings = Settings()


def in_notebook() -> bool:
    """Whether the output goes to cells of a notebook."""
    asked = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "IPKernelApp" in getattr(asked, "config", ())


def somebody_looks() -> bool:
    """Whether a bar would be seen: in a notebook or at a terminal, and not in a log."""
    if settings.progress is not None:
        return settings.progress
    at_terminal = sys.stderr is not None and sys.stderr.isatty()
    unattended = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return in_notebook() or (at_terminal and not unattended and os.environ.get("TERM") != "dumb")
