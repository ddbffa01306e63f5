"""A map: one target state for each source cell, with the units of its cells; storage."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._check import check_count, check_number
from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.flow.field import ResidualBlock, perceptron, set_to_zero
from scgenot.model.doses import WithDoses
from scgenot.model.generate import blocks, conditions, evaluating, finite, points_at_a_time
from scgenot.model.growth import WithGrowth
from scgenot.model.map_storage import put_together, take_apart
from scgenot.model.stored import WithFile
from scgenot.model.units import Units, to_tensor
from scgenot.pair import Pair

Cells = np.ndarray | Tensor


class TransportMap(WithGrowth, WithDoses, WithFile):
    """Map `T(x | condition) = x + network`, with one target state per source cell.

    Inputs of the network are standardized, and its outputs are in units of the standard deviation
    of each feature within populations. The condition scales and shifts the residual blocks. The
    last layer is initialized to 0, so that the map is initially the identity.

    Parameters
    ----------
    source_dim, condition_dim
        Sizes of cells and conditions; 0 if there is a single condition.
    width, depth
        Features per layer, and residual blocks.
    encoder
        Encoder of conditions, as in :class:`~scgenot.Genot`.
    threshold
        Changes of a feature below this number of standard deviations are set to 0.

    Raises
    ------
    TypeError, ValueError
        When a size is not an integer, or too small.

    See Also
    --------
    :class:`~scgenot.model.MongeMap` : the learner that returns it.

    Examples
    --------
    >>> link = sg.Link(pair, plan=coupling)
    >>> run = sg.model.Run(progress=False)
    >>> model = sg.model.MongeMap(steps=20)([link], run).model
    >>> model.mean(pair.source).shape  # (n, d)
    """

    kind = "transport map"
    # all draws of a cell are one: no spread, no density
    deterministic = True
    displacement = True

    @typed
    def __init__(
        self,
        source_dim: int,
        condition_dim: int = 0,
        *,
        width: int = 128,
        depth: int = 3,
        encoder: nn.Module | None = None,
        threshold: float = 0.0,
    ):
        super().__init__()
        sizes = {"source_dim": (source_dim, 1), "condition_dim": (condition_dim, 0)}
        for name, (value, least) in {**sizes, "width": (width, 2), "depth": (depth, 1)}.items():
            check_count(name, value, least)
        check_number("threshold", threshold, "0 or more, and finite", lambda t: 0 <= t < 1e6)
        self.source_dim = self.target_dim = source_dim
        self.condition_dim, self.width, self.depth = condition_dim, width, depth
        self.encoder, self.threshold = encoder, float(threshold)
        self.units = Units(source_dim, source_dim, displacement=False)
        self.register_buffer("unit", torch.ones(source_dim))
        told_dim = encoder.out_dim if encoder is not None else condition_dim
        self.enter = nn.Linear(source_dim + told_dim, width)
        self.modulation = perceptron(told_dim, width, 2 * width * depth) if told_dim else None
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.leave = nn.Linear(width, source_dim)
        set_to_zero(self.leave)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.unit.device

    @property
    def is_sparse(self) -> bool:
        """Whether some features may remain unchanged."""
        return self.threshold > 0

    def fit_units(self, pairs: Sequence[Pair]) -> None:
        """Take the units of columns from all cells: theirs, and their spread within populations."""
        self.units.fit(pairs)
        populations = {id(cells): cells for pair in pairs for cells in (pair.source, pair.target)}
        variances = np.stack([cells.var(0, dtype=float) for cells in populations.values()])
        unit = np.sqrt(variances.mean(0))
        unit[unit <= 1e-6 * np.abs(self.units.source.mean.cpu().numpy())] = 1
        self.unit.copy_(torch.as_tensor(unit))

    def forward(self, cells: Tensor, condition: Tensor | None = None) -> Tensor:
        """Displacements `(n, d)` in standard deviations of cells in standard units."""
        if condition is not None and self.encoder is not None:
            condition = self.encoder(condition)
        h = self.enter(cells if condition is None else torch.cat([cells, condition], -1))
        told = h.new_zeros(1, 2 * self.width * self.depth)
        if self.modulation is not None:
            told = self.modulation(condition)
        for block, part in zip(self.blocks, told.chunk(self.depth, -1), strict=True):
            h = block(h, part)
        return self.leave(h)

    @typed
    @torch.no_grad()
    def sample(
        self,
        source: Cells,
        condition: Cells | None = None,
        *,
        n_samples: int = 1,
        guidance: float = 1.0,
        rng: Rng = 0,
        batch_size: int | None = None,
    ) -> Tensor:
        """Map source cells; all samples of a cell are the same.

        Parameters
        ----------
        source
            Source cells, shape `(n, d)`.
        condition
            Conditions, shape `(n, c)`, or one `(c,)` for all.
        n_samples
            Number of repetitions of each mapped cell.
        guidance
            Must be 1; a map has no guidance.
        rng
            Not used: nothing is random.
        batch_size
            Number of cells mapped at a time; None for 4,096, or 65,536 on a GPU.

        Returns
        -------
        Target states, shape `(n, n_samples, d)`, on the CPU.

        Raises
        ------
        ValueError
            When a shape is wrong, the weights of the model are not finite, or `guidance` is not 1.
        FloatingPointError
            When a mapped cell is not finite.
        """
        check_count("n_samples", n_samples, 1)
        if guidance != 1:
            raise ValueError(
                f"`guidance={guidance}`: a map is not guided; leave it at 1, or fit with "
                "`learner=sg.model.FlowMatching(condition_dropout=0.1)`."
            )
        mapped = self.mean(source, condition, batch_size=batch_size)
        return mapped[:, None].expand(-1, n_samples, -1).clone()

    @typed
    @torch.no_grad()
    def mean(
        self, source: Cells, condition: Cells | None = None, *, batch_size: int | None = None
    ) -> Tensor:
        """Map source cells.

        For a dose between those fitted, of any perturbation, the mapped cells at the two nearest
        fitted doses are interpolated linearly in the strength of the dose.

        Parameters
        ----------
        source, condition, batch_size
            As in :meth:`sample`.

        Returns
        -------
        Target states, shape `(n, d)`, on the CPU.
        """
        cells = to_tensor(source, self.unit)
        x, c = self.units.source(cells), conditions(self, condition, len(cells))
        if (ends := self.dose_ends(c)) is not None:
            return ends.mixed(lambda side: self.mean(cells, side, batch_size=batch_size))
        out, size = torch.empty_like(x, device="cpu"), points_at_a_time(batch_size, x.device)
        with evaluating(self):
            for rows in blocks(len(x), size):
                moved = self(x[rows], None if c is None else c[rows])
                moved = torch.where(moved.abs() > self.threshold, moved, 0.0)
                out[rows] = (cells[rows] + moved * self.unit).to(out.device)
        return finite(out, "map")

    def log_prob(self, *args, **options) -> Tensor:
        """Raise an error: a map has no density.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            "`log_prob` needs a model with a density, but a map has none: fit with "
            "`learner=sg.model.FlowMatching()`."
        )

    def _take_apart(self) -> tuple[dict, dict[str, np.ndarray]]:
        return take_apart(self)

    @classmethod
    def _put_together(cls, config: Mapping, arrays: Mapping, *, device=None) -> "TransportMap":
        return put_together(cls, config, arrays, device=device)
