"""Growth: small positive networks for the mass that a coupling takes from each cell."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scgenot._random import Rng, torch_rng
from scgenot.model.units import to_tensor
from scgenot.pair import Pair

if TYPE_CHECKING:
    from scgenot.model.genot import Genot

# ratios below this are regressed as this: the logarithm of a cell that nothing reaches has no end
SMALLEST = 1e-4


class GrowthNetwork(nn.Module):
    """Positive function of a cell and its condition, `exp(linear + network)`; one everywhere at the start.

    Parameters
    ----------
    cell_dim, condition_dim
        Sizes of a cell and of a condition.
    width
        Features per layer.

    See Also
    --------
    :func:`~scgenot.model.fit_growth` : gives a model two of them.
    """

    def __init__(self, cell_dim: int, condition_dim: int = 0, *, width: int = 64):
        super().__init__()
        given_dim = cell_dim + condition_dim
        self.linear = nn.Linear(given_dim, 1)
        self.network = nn.Sequential(
            nn.Linear(given_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 1),
        )
        for layer in (self.linear, self.network[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def log(self, cells: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logarithm of the ratio, `(n,)`, of standardised cells `(n, p)` with conditions `(n, c)`."""
        given = cells if condition is None else torch.cat([cells, condition], -1)
        return (self.linear(given) + self.network(given)).squeeze(-1)

    def forward(self, cells: Tensor, condition: Tensor | None = None) -> Tensor:
        """Ratio, `(n,)`, of standardised cells `(n, p)` with conditions `(n, c)`."""
        return self.log(cells, condition).exp()


def regress_growth(
    network: GrowthNetwork,
    cells: Tensor,
    ratios: Tensor,
    condition: Tensor | None = None,
    *,
    steps: int = 1000,
    batch_size: int = 512,
    learning_rate: float = 3e-3,
    generator: torch.Generator,
) -> None:
    """Fit a network to given ratios by the squared error of their logarithms."""
    target = ratios.clamp_min(SMALLEST).log()
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(
            len(cells), (min(batch_size, len(cells)),), generator=generator, device=cells.device
        )
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
    """Give a model the growth networks `eta(x)` and `xi(y)`, fitted to what unbalanced couplings say.

    Parameters
    ----------
    model
        Model whose standardiser has been fitted.
    pairs
        Pairs that were coupled.
    eta, xi
        For each pair `(P 1)_i / a_i`, shape `(n,)`, and `(P' 1)_j / b_j`, shape `(m,)`.
    steps
        Steps of optimisation, each network.
    rng
        Seed.

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
            given = (
                to_tensor(pair.condition, cells[0]).expand(len(x), -1)
                for pair, x in zip(pairs, cells, strict=True)
            )
            condition = torch.cat(list(given))
        values = torch.cat([to_tensor(block, cells[0]) for block in ratios])
        regress_growth(
            network, torch.cat(cells), values, condition, steps=steps, generator=generator
        )
