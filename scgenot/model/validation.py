"""Validation on cells that training has not seen."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scgenot.model.draws import VALIDATE, Batch, Draws, stream
from scgenot.model.genot import Genot

# points in all and at least for each pair; the divergence, quadratic in the number, takes fewer
N_POINTS, MIN_POINTS, N_DIVERGENCE = 4096, 64, 256
# draws in all and at least for each pair, of which few have both cells held out
N_DRAWS, MIN_DRAWS = 2**20, 2**15


def sinkhorn_divergence(x: Tensor, y: Tensor, *, epsilon: float = 0.1, iterations: int = 50) -> Tensor:
    """Sinkhorn divergence `W(x, y) - (W(x, x) + W(y, y)) / 2`, cost `|x - y|^2` (Feydy et al. 2019, arXiv 1810.08278).

    Parameters
    ----------
    x, y
        Point clouds `(n, d)` and `(m, d)`, uniform weights.
    epsilon
        Entropic regularisation relative to the mean cost between x and y.
    iterations
        Sinkhorn iterations.

    Returns
    -------
    Divergence, scalar, zero for equal clouds.
    """
    scale = epsilon * torch.cdist(x, y).square().mean()
    xy, xx, yy = (_entropic_cost(a, b, scale, iterations) for a, b in ((x, y), (x, x), (y, y)))
    return xy - (xx + yy) / 2


def _entropic_cost(x: Tensor, y: Tensor, epsilon: Tensor, iterations: int) -> Tensor:
    """Value of the dual after averaged updates, which converge fast and keep x and y alike."""
    scaled = torch.cdist(x, y).square() / epsilon
    f, g = scaled.new_zeros(len(x)), scaled.new_zeros(len(y))
    for _ in range(iterations):
        new_f = -((g - scaled).logsumexp(1) - torch.tensor(len(y)).log())
        new_g = -((f[:, None] - scaled).logsumexp(0) - torch.tensor(len(x)).log())
        f, g = (f + new_f) / 2, (g + new_g) / 2
    return epsilon * (f.mean() + g.mean())


class Validation:
    """Pairs of cells, both held out, and how well a model predicts them.

    The targets are those that the couplings give to the held-out source cells, so that a perfect model scores the same
    however few they are, and in an unbalanced fit too.

    Parameters
    ----------
    draws
        Draws of the run; its `held_out` cells are validated on.
    """

    def __init__(self, draws: Draws):
        self.seed = draws.seed
        self.batches = list(_held_out_batches(draws))

    def __bool__(self) -> bool:
        return bool(self.batches)

    @torch.no_grad()
    def __call__(self, model: Genot) -> dict[str, float]:
        """Score a model, with the same random numbers each time.

        Parameters
        ----------
        model
            Model to score.

        Returns
        -------
        `validation_loss`: the training loss on held-out cells; `divergence`: Sinkhorn divergence between what the
        model makes of held-out source cells and their targets, standardised, per dimension. Means over pairs.
        """
        scores = []
        for k, (source, target, condition) in enumerate(self.batches):
            generator = stream(self.seed, VALIDATE, k, device=model.device)
            loss = model.loss(source, target, condition, generator=generator)
            few = slice(N_DIVERGENCE)
            pushed = model.sample(source[few], None if condition is None else condition[few], rng=k)[:, 0]
            divergence = sinkhorn_divergence(model.target_units(pushed), model.target_units(target[few]))
            scores.append(torch.stack([divergence / model.target_dim, loss]))
        divergence, loss = torch.stack(scores).mean(0).tolist()
        return {"divergence": divergence, "validation_loss": loss}


def _held_out_batches(draws: Draws) -> Iterator[Batch]:
    n_pairs = sum(bool(masks.source.any()) for masks in draws.held_out)
    for k, masks in enumerate(draws.held_out):
        if not (masks.source.any() and masks.target.any()):
            continue
        i, j = draws.draw(k, max(N_DRAWS // n_pairs, MIN_DRAWS), VALIDATE, 0)
        found = (masks.source.to(i.device)[i] & masks.target.to(j.device)[j]).nonzero()[:, 0]
        if len(found) > 1:
            # a pair of cells may come again: the loss has other noise then
            n_points = max(N_POINTS // n_pairs, MIN_POINTS)
            found = found[torch.arange(n_points, device=found.device) % len(found)]
            yield draws.cells(torch.full_like(found, k), i[found], j[found])
