"""Partial plans: what may stay behind.

Marginals of a partial plan are at most the weights. A unit of mass that stays behind costs the
price on either side, so that no potential rises above the price: `f <- min(f, price)` and `g <-
min(g, price)` after the balanced updates. While a plan is solved the target side has the cap 0 and
the source side the cap `2 price`: the plan is the same, and where a share is to be kept one cap is
to be found.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot._check import check_number

# a plan with less mass matches nothing
NOTHING = 1e-3
# a potential is at its cap when it is within this fraction of epsilon of it
AT_CAP = 1e-3


@dataclass
class Caps:
    """Largest values of the potentials of a plan while it is solved; none when balanced.

    Parameters
    ----------
    price
        What each unit costs that stays behind, in the units of the cost; None when `keep` is given.
    keep
        Share of the mass to keep; None when `price` is given.

    See Also
    --------
    :class:`~scgenot.ot.Sinkhorn` : has both as options.
    """

    price: float | None = None
    keep: float | None = None

    @property
    def is_partial(self) -> bool:
        """Whether mass may stay behind."""
        return self.price is not None or self.keep is not None

    def cut_source(self, f: Tensor, a: Tensor, epsilon: float) -> Tensor:
        """Cut the balanced update of f; where a share is kept, at the price that keeps it."""
        if self.keep is not None:
            self.price = level(f, a, self.keep, epsilon) / 2
        return f if self.price is None else f.clamp(max=2 * self.price)

    def cut_target(self, g: Tensor) -> Tensor:
        """Cut the balanced update of g."""
        return g.clamp(max=0) if self.is_partial else g


def level(h: Tensor, a: Tensor, keep: float, epsilon: float) -> float:
    """Return the cap at which `sum_i a_i min(1, exp((cap - h_i) / eps))` is `keep`.

    Parameters
    ----------
    h, a
        Balanced potentials and weights, shapes `(n,)`.
    keep
        The sum that is wanted, below the sum of `a`.
    epsilon
        Entropic regularisation.

    Raises
    ------
    FloatingPointError
        When too many potentials are infinite, as of cells that the kernel holds no entries of.

    Examples
    --------
    >>> level(f, a, 0.9, epsilon)
    """
    order = h.argsort()
    h, a = h[order].double() / epsilon, a[order].double()
    below = a.cumsum(0) - a
    # logarithm of the mass at a cap of 0 of the cells from each one on, none of which is whole
    rest = (a.log() - h).flip(0).logcumsumexp(0).flip(0)
    mass = (below + (h + rest).exp()).nan_to_num(nan=1.0)
    first = int(torch.searchsorted(mass.cummax(0).values, keep).clamp(max=len(h) - 1))
    cap = float((keep - below[first]).clamp(min=0).log() - rest[first])
    if first:  # whole cells may make up the share, up to rounding
        cap = max(cap, float(h[first - 1]))
    if not abs(cap) < float("inf"):
        raise FloatingPointError
    return cap * epsilon


def log_growth(log_sum: Tensor, epsilon: float, tau: float, price: float | None) -> Tensor:
    """Logarithm of the mass that source cells send over their weight, from their row sums."""
    if price is None:
        return (1 - tau) * log_sum
    return (log_sum + price / epsilon).clamp(max=0)


def target_error(coupling, received: Tensor) -> Tensor:
    """L1 distance of the target marginal from the one that the potentials imply, by cell."""
    b, g = coupling.b, coupling.g
    eps, tau = coupling.epsilon, coupling.tau[1]
    if coupling.price is None:
        return (received - b * torch.exp(-g / eps * ((1 - tau) / tau))).abs()
    # a cell at the price may receive less than its weight
    over, is_cut = received - b, g > coupling.price - AT_CAP * eps
    return torch.where(is_cut, over.clamp(min=0), over.abs())


def check_partial(tau, price: float | None, keep: float | None) -> None:
    """Raise an error unless at most one way is given to leave mass behind, and a sensible one."""
    if price is not None:
        check_number("price", price, "positive and finite", lambda unit: 0 < unit < float("inf"))
    if keep is not None:
        check_number("keep", keep, "above 0 and at most 1", lambda share: 0 < share <= 1)
    if price is not None and keep is not None:
        raise ValueError("`price` and `keep` exclude each other: give one.")
    if (price is not None or keep is not None) and tuple(tau) != (1, 1):
        raise ValueError(f"`tau={tau}` and `price` or `keep` exclude each other: give one.")


class NothingMatched(ValueError):
    """A price leaves next to nothing matched."""


def check_matched(coupling, price: float) -> None:
    """Raise an error when a price leaves next to nothing matched."""
    if coupling.diagnostics.mass < NOTHING:
        raise NothingMatched(
            f"`price={price:g}` is so low that nothing is matched (mass "
            f"{coupling.diagnostics.mass:.2g}): two cells are matched only where their cost is "
            "below twice the price. Raise `price`, or give the share to match, `keep`."
        )
