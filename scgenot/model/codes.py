"""Codes: the point of noise that a target cell comes from, given its source cell."""

import numpy as np
import torch
from torch import Tensor

from scgenot._typed import typed
from scgenot.flow.field import bind
from scgenot.flow.integrator import ODE, Integrator, only_ode
from scgenot.model.generate import blocks, conditions, evaluating, finite, points_at_a_time, shown
from scgenot.model.units import to_tensor

Cells = np.ndarray | Tensor
CODER = ODE("rk4", steps=20)


class WithCodes:
    """A model whose flow is followed backward, from cells to noise, and forward again.

    Codes are those of the flow, for source cells far from the fitted ones, too.
    """

    @typed
    @torch.no_grad()
    def encode(
        self,
        source: Cells,
        target: Cells,
        condition: Cells | None = None,
        *,
        integrator: Integrator = CODER,
        batch_size: int | None = None,
    ) -> Tensor:
        """Encode target cells: the noise that the flow carries to each, given its source cell.

        For a right model of a balanced plan, fitted without source noise, the codes of target cells
        are standard normal when source cells are drawn from the plan given the target cell (OTIP,
        arXiv 2508.02363): their squared length is chi-square of q degrees of freedom.

        Parameters
        ----------
        source, target
            Cells, one each, shapes `(n, p)` and `(n, q)`.
        condition
            As in :meth:`sample`.
        integrator
            A :class:`~scgenot.flow.ODE`.
        batch_size
            Number of points integrated at a time; None for 4,096, or 65,536 on a GPU.

        Returns
        -------
        Codes, shape `(n, q)`, on the CPU; :meth:`decode` gives the cells again.

        Raises
        ------
        TypeError
            When `integrator` is not an ODE.
        ValueError
            When a shape is wrong.
        """
        cells = to_tensor(source, self.units.source.mean)
        check_pairs(cells, target, "target")
        points = self.units.enter(cells, target)
        carried = self._carry(cells, points, condition, integrator, batch_size, 1.0)
        return finite(carried, "code").cpu()

    @typed
    @torch.no_grad()
    def decode(
        self,
        source: Cells,
        code: Cells,
        condition: Cells | None = None,
        *,
        integrator: Integrator = CODER,
        batch_size: int | None = None,
    ) -> Tensor:
        """Decode noise: the target cell that the flow carries each code to.

        For a dose between fitted ones, cells are interpolated as in :meth:`sample`, and
        :meth:`encode`, which follows the flow at this dose, does not give the codes again.

        The code of a cell under another condition is a counterfactual, the same cell under another
        drug, if the order of cells with one source is the same under both.

        Parameters
        ----------
        source
            Source cells, shape `(n, p)`.
        code
            Codes, one each, shape `(n, q)`.
        condition, integrator, batch_size
            As in :meth:`encode`.

        Returns
        -------
        Target cells, shape `(n, q)`, on the CPU.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`encode`.
        """
        cells = to_tensor(source, self.units.source.mean)
        check_pairs(cells, code, "code")
        points = to_tensor(code, self.units.source.mean, "code")
        told = conditions(self, condition, len(cells))
        if (ends := self.dose_ends(told)) is not None:
            options = {"integrator": integrator, "batch_size": batch_size}
            return ends.mixed(lambda side: self.decode(cells, points, side, **options))
        if points.shape[1:] != (self.target_dim,):
            expected = len(cells), self.target_dim
            raise ValueError(f"`code` has shape {tuple(points.shape)}, expected {expected}.")
        carried = self._carry(cells, points, condition, integrator, batch_size, 0.0)
        return finite(self.units.leave(cells, carried[:, None])[:, 0], "cell").cpu()

    def _carry(self, cells, points, condition, integrator, batch_size, start: float) -> Tensor:
        """Follow the flow from one end to the other."""
        only_ode(integrator, "codes")
        size = points_at_a_time(batch_size, self.device)
        x, c = self.units.source(cells), shown(self, conditions(self, condition, len(cells)))
        out = []
        with evaluating(self):
            for rows in blocks(len(x), size):
                velocity = bind(self.field, x[rows], None if c is None else c[rows], 1)
                z = integrator(velocity, points[rows, None], t0=start, t1=1 - start)
                out.append(z[:, 0])
        return torch.cat(out)


def check_pairs(source: Tensor, other: Cells, name: str) -> None:
    """Raise a ValueError unless there is one row for each source cell."""
    if len(other) != len(source):
        raise ValueError(f"`{name}` has {len(other)} rows, `source` {len(source)}: give one each.")
