"""Names of perturbations: which say control, and which are combinations."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scgenot.cells.labels import factorize, text_of, texts_of

logger = logging.getLogger("scgenot")

_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True)
class Names:
    """How the names of one screen are read.

    Parameters
    ----------
    control
        The name of the control; None when there is none.
    separator
        Between the parts of a combination; None when names are never combinations.
    whole
        Names that are known as single perturbations, such as the rows of an embedding: they are
        not split, and a name of such parts is a combination, however odd they look.

    Examples
    --------
    >>> names = Names("ctrl")
    >>> names.parts("A+ctrl"), names.parts("(+)-JQ1"), names.is_control("ctrl+ctrl")
    (['A'], ['(+)-JQ1'], True)
    """

    control: str | None = None
    separator: str | None = "+"
    whole: frozenset[str] = frozenset()

    def __post_init__(self):
        """Refuse what nothing can be split at."""
        separator = self.separator
        if separator is not None and (not isinstance(separator, str) or not separator):
            raise TypeError(
                f"`separator={separator!r}` must be text, or None when names are never "
                "combinations."
            )

    @classmethod
    def read(cls, column, control, separator: str | None, rows: Iterable = ()) -> "Names":
        """Decide which names of a column are combinations; `rows` are those of an embedding."""
        control = None if control is None else text_of(control)
        known = frozenset(map(text_of, rows))
        found = texts_of(factorize(column)[1])
        first = cls(control, separator, known)
        kept = [name for name in found if first.is_kept_whole(name)]
        # a name that stands alone in the column may be a part, however odd it looks
        alone = {name for name in found if not first.pieces(name)[1:]}
        names = cls(control, separator, known | alone)
        kept = [name for name in kept if len(names.parts(name)) == 1]
        if kept:
            logger.info("%s are taken as single perturbations, not split at %r.", kept, separator)
        return cls(control, separator, known | alone | set(kept))

    def parts(self, name) -> list[str]:
        """Return the perturbations in a name, each once; none for the control."""
        name = text_of(name)
        pieces = self.pieces(name)
        if not name or all(piece == self.control for piece in pieces):
            return []
        if name in self.whole or self.is_kept_whole(name):
            return [name]
        return [piece for piece in dict.fromkeys(pieces) if piece not in ("", self.control)]

    def is_control(self, name) -> bool:
        """Whether a name says control, and nothing besides."""
        return self.control is not None and bool(text_of(name)) and not self.parts(name)

    def are_control(self, column) -> np.ndarray:
        """Whether each label of a column says control; a missing one does not."""
        codes, found = factorize(column)
        return np.array([*map(self.is_control, found), False], dtype=bool)[codes]

    def are(self, column, name) -> np.ndarray:
        """Whether each label of a column means the same as a name, however it is written."""
        codes, found = factorize(column)
        asked = set(self.parts(name))
        return np.array([*(set(self.parts(label)) == asked for label in found), False])[codes]

    def is_kept_whole(self, name: str) -> bool:
        """Whether a name has the separator, but may not be a combination."""
        raw = self._raw(name)
        pieces = [piece.strip() for piece in raw]
        if len(raw) == 1:
            return self.separator is not None and self.separator in name and name != self.control
        if all(piece == self.control or piece in self.whole for piece in pieces):
            return False
        return (
            not all(_looks_whole(piece) for piece in pieces)
            # "NAD+ precursor" is one, "A + B" and "A+B" are two
            or any(left[-1:].isspace() != right[:1].isspace() for left, right in pairwise(raw))
            # a number that is no perturbation by itself counts a position, as in "1,2-x"
            or any(p.isdigit() and p != self.control and p not in self.whole for p in pieces)
        )

    def pieces(self, name: str) -> list[str]:
        """Return what stands between separators."""
        return [piece.strip() for piece in self._raw(name)]

    def _raw(self, name: str) -> list[str]:
        """Cut at separators outside of brackets; not at all when brackets are unbalanced."""
        if self.separator is None or name == self.control or self.separator not in name:
            return [name]
        if any(bracket in self.separator for bracket in _OPEN + _CLOSE):
            return name.split(self.separator)
        pieces, start, k, depth = [], 0, 0, []
        while k < len(name):
            if not depth and name.startswith(self.separator, k):
                pieces.append(name[start:k])
                start = k = k + len(self.separator)
                continue
            if name[k] in _OPEN:
                depth.append(_CLOSE[_OPEN.index(name[k])])
            elif name[k] in _CLOSE and (not depth or depth.pop() != name[k]):
                return [name]
            k += 1
        return [name] if depth else [*pieces, name[start:]]


def _looks_whole(piece: str) -> bool:
    """Whether a part of a name could be a name: it is not empty, and begins as one."""
    return piece != "" and (piece[0].isalnum() or piece[0] in _OPEN)
