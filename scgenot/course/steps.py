"""Which fitted steps of a time course lead from where to where."""

from collections.abc import Iterable
from numbers import Real

Path = list[tuple[float, float]]


class Steps(tuple[tuple[float, float], ...]):
    """Fitted steps of a time course: pairs of an earlier and a later time, sorted, each once.

    Parameters
    ----------
    steps
        Pairs of an earlier and a later time, in any order; a pair may come more than once.

    Raises
    ------
    ValueError
        When a step does not lead forward in time.

    Examples
    --------
    >>> steps = Steps([(0, 1), (1, 3), (0, 3)])
    >>> steps.path(0, 3)
    [(0.0, 3.0)]
    """

    __slots__ = ()

    def __new__(cls, steps: Iterable[tuple[float, float]]):
        """Sort the steps and drop repeated ones."""
        found = sorted({(float(earlier), float(later)) for earlier, later in steps})
        wrong = [step for step in found if not step[0] < step[1]]
        if wrong:
            raise ValueError(f"`steps` has {wrong}: the earlier time must come first.")
        return super().__new__(cls, found)

    def __str__(self) -> str:
        """Show the steps in a message."""
        return ", ".join(f"{earlier:g} to {later:g}" for earlier, later in self)

    @property
    def times(self) -> list[float]:
        """All times at the ends of steps, in order."""
        return sorted({time for step in self for time in step})

    def onward(self, end: float) -> dict[float, float]:
        """Return the next time on the shortest path to `end`, for each time that has a path.

        Parameters
        ----------
        end
            The last time.

        Returns
        -------
        The time after each earlier time, on the path of the fewest steps.

        Raises
        ------
        ValueError
            When no step leads to `end`.
        """
        following, reached = {}, [end]
        for later in reached:  # grows while it is walked, nearest first
            for earlier, target in self:
                if target == later and earlier not in following:
                    following[earlier] = later
                    reached.append(earlier)
        if not following:
            raise ValueError(
                f"no fitted step leads to `end={end:g}`; the fitted steps are {self}. "
                "Choose a later `end`."
            )
        return following

    def path(self, start: float, end: float) -> Path:
        """Return the fewest steps that lead from one time to another.

        Parameters
        ----------
        start, end
            First and last time.

        Returns
        -------
        Steps in order of time; the first begins at `start`, the last ends at `end`.

        Raises
        ------
        ValueError
            When `start` is not before `end`, or no steps lead from one to the other.
        """
        if start >= end:
            raise ValueError(
                f"`start` is {start:g} and `end` is {end:g}: `start` must be the earlier time."
            )
        following = self.onward(end)
        if start not in following:
            raise ValueError(
                f"no fitted steps lead from `start={start:g}` to `end={end:g}`; "
                f"the fitted steps are {self}. Fit with `pairs` that connect the two times."
            )
        steps = [(start, following[start])]
        while steps[-1][1] != end:
            steps.append((steps[-1][1], following[steps[-1][1]]))
        return steps

    def around(self, time: float) -> tuple[float, float]:
        """Return the shortest step that contains a time.

        Parameters
        ----------
        time
            A time; the ends of a step belong to it.

        Returns
        -------
        The earlier and the later time of the step; of equally short ones the earliest.

        Raises
        ------
        TypeError
            When `time` is not a number.
        ValueError
            When no step contains it.
        """
        if not isinstance(time, Real) or isinstance(time, bool):
            raise TypeError(
                f"`time={time!r}` must be one number, on the scale of the fitted times "
                f"{self.times}."
            )
        steps = [step for step in self if step[0] <= time <= step[1]]
        if not steps:
            raise ValueError(
                f"`time={time}` is in no fitted step; the fitted steps are {self}. "
                "Times outside them cannot be predicted."
            )
        return min(steps, key=lambda step: step[1] - step[0])

    def first_steps(self) -> Path:
        """Return the shortest step from each time, in order of time."""
        return sorted({step[0]: step for step in sorted(self, reverse=True)}.values())
