"""Growth: small positive networks for the mass that a plan takes from each cell."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._random import Rng, torch_rng
from scgenot.flow.field import perceptron, set_to_zero
from scgenot.model.generate import conditions, evaluating, finite
from scgenot.model.units import to_tensor
from scgenot.ot.plan import is_balanced
from scgenot.pair import Pair

if TYPE_CHECKING:
    from scgenot.model.genot import Genot

# ratios below this are regressed as this: the logarithm of a cell that nothing reaches has no end
SMALLEST = 1e-4
BATCH_SIZE, LEARNING_RATE = 512, 3e-3


class GrowthNetwork(nn.Module):
    """Positive function of a cell and its condition, `exp(linear + network)`, initialized to 1.

    Parameters
    ----------
    cell_dim, condition_dim
        Sizes of a cell and of a condition.
    width
        Features per layer.

    See Also
    --------
    :func:`~scgenot.model.fit_growth` : adds two of them to a model.
    """

    def __init__(self, cell_dim: int, condition_dim: int = 0, *, width: int = 64):
        super().__init__()
        given_dim = cell_dim + condition_dim
        self.linear = nn.Linear(given_dim, 1)
        self.network = perceptron(given_dim, width, 1)
        set_to_zero(self.linear, self.network[-1])

    def log(self, cells: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logarithm of the ratio, `(n,)`, of standardized cells and their conditions."""
        given = cells if condition is None else torch.cat([cells, condition], -1)
        return (self.linear(given) + self.network(given)).squeeze(-1)

    def forward(self, cells: Tensor, condition: Tensor | None = None) -> Tensor:
        """Ratio, `(n,)`, of standardized cells `(n, p)` with conditions `(n, c)`."""
        return self.log(cells, condition).exp()


class WithGrowth(nn.Module):
    """A model with two growth networks, once it is given them."""

    def __init__(self):
        super().__init__()
        self.eta: GrowthNetwork | None = None
        self.xi: GrowthNetwork | None = None

    def add_growth(self) -> None:
        """Make the growth networks `eta(x)` and `xi(y)`, 1 everywhere until fitted."""
        self.eta = GrowthNetwork(self.source_dim, self.condition_dim).to(self.device)
        self.xi = GrowthNetwork(self.target_dim, self.condition_dim).to(self.device)

    def growth(
        self, source: np.ndarray | Tensor, condition: np.ndarray | Tensor | None = None
    ) -> Tensor:
        """Growth `eta` of source cells: mass sent over mass held; 1 for a balanced fit.

        Parameters
        ----------
        source, condition
            As in :meth:`sample`.

        Returns
        -------
        Ratios, shape `(n,)`.
        """
        return self._ratios(self.eta, self.units.source(source), condition)

    def target_growth(
        self, target: np.ndarray | Tensor, condition: np.ndarray | Tensor | None = None
    ) -> Tensor:
        """Growth `xi` of target cells: mass received over mass held; 1 for a balanced fit.

        Parameters
        ----------
        target
            Target cells, shape `(m, q)`.
        condition
            As in :meth:`sample`.

        Returns
        -------
        Ratios, shape `(m,)`.
        """
        return self._ratios(self.xi, self.units.target(target), condition)

    @torch.no_grad()
    def _ratios(self, network: GrowthNetwork | None, cells: Tensor, condition) -> Tensor:
        """Evaluate a growth network on standardized cells; 1 when there is none."""
        with evaluating(self):
            if network is None:
                return torch.ones(len(cells))
            told = conditions(self, condition, len(cells))
            ends = self.dose_ends(told)
            log = partial(network.log, cells)
            ratios = (log(told) if ends is None else ends.mixed(log)).exp().cpu()
        return finite(ratios, "growth")


def growth_ratios(plan, pair: Pair, *, weights_are_growth: bool) -> tuple[Tensor, Tensor] | None:
    """Return eta of the source and xi of the target cells, NaN for cells without weight.

    None when all are 1, or the plan cannot tell.
    """
    a, b = torch.as_tensor(pair.source_weights), torch.as_tensor(pair.target_weights)
    balanced = is_balanced(plan)
    known = weights_are_growth and bool(a.max() > a.min())
    if (balanced and not known) or not hasattr(plan, "marginals"):
        return None
    source, target = (torch.as_tensor(side).double().cpu() for side in plan.marginals())
    if weights_are_growth:
        eta = source * len(source)
    elif hasattr(plan, "growth"):
        eta = torch.as_tensor(plan.growth()).double().cpu()
    else:
        eta = source / a
    if not all(values.isfinite().all() for values in (source, target, eta[a > 0])):
        raise ValueError(
            f"The plan of the pair {pair.name!r} has marginals or growth that are not finite: "
            "raise `epsilon` or `tau` of the solver."
        )
    return eta, target / b


def regress_growth(
    network: GrowthNetwork,
    cells: Tensor,
    ratios: Tensor,
    condition: Tensor | None = None,
    *,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Fit a network to given ratios by the squared error of their logarithms."""
    target = ratios.clamp_min(SMALLEST).log()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        size = (min(BATCH_SIZE, len(cells)),)
        rows = torch.randint(len(cells), size, generator=generator, device=cells.device)
        predicted = network.log(cells[rows], None if condition is None else condition[rows])
        optimizer.zero_grad()
        nn.functional.mse_loss(predicted, target[rows]).backward()
        optimizer.step()
        schedule.step()


def fit_growth(
    model: "Genot",
    pairs: Sequence[Pair],
    eta: Sequence[Tensor],
    xi: Sequence[Tensor],
    *,
    steps: int = 1000,
    rng: Rng = 0,
) -> None:
    """Add growth networks `eta(x)` and `xi(y)` to a model, fitted to the ratios of unbalanced
    plans.

    Parameters
    ----------
    model
        Model whose standardizer has been fitted.
    pairs
        Coupled pairs.
    eta, xi
        For each pair `(P 1)_i / a_i`, shape `(n,)`, and `(P' 1)_j / b_j`, shape `(m,)`; cells with
        NaN, such as those without weight, are left out.
    steps
        Optimization steps per network.
    rng
        Seed.

    Raises
    ------
    ValueError
        When ratios are infinite or negative, or all ratios of a side are NaN.

    Examples
    --------
    >>> coupling = sg.ot.Sinkhorn(tau=(0.9, 1))(pair)
    >>> xi = coupling.marginals()[1] / coupling.b
    >>> sg.model.fit_growth(model, [pair], [coupling.growth()], [xi], steps=10)
    """
    model.add_growth()
    generator = torch_rng(rng, model.device)
    for network, side, ratios in ((model.eta, "source", eta), (model.xi, "target", xi)):
        units = getattr(model.units, side)
        cells = [units(getattr(pair, side)) for pair in pairs]
        condition = None
        if model.condition_dim:
            given = [to_tensor(pair.condition, cells[0]) for pair in pairs]
            given = [c.expand(len(x), -1) for c, x in zip(given, cells, strict=True)]
            condition = torch.cat(given)
        values = torch.cat([to_tensor(block, cells[0]) for block in ratios])
        cells = torch.cat(cells)
        known = ~values.isnan()
        if not known.any() or values[known].isinf().any() or (values[known] < 0).any():
            raise ValueError(
                f"The ratios of {side} cells must be finite and not negative, or NaN for cells "
                f"without weight; found {int((~known).sum())} of {len(known)} NaN."
            )
        condition = None if condition is None else condition[known]
        regress_growth(
            network, cells[known], values[known], condition, steps=steps, generator=generator
        )
