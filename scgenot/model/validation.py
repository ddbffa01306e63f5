"""Validation on cells that training has not seen."""

from collections.abc import Iterator

import torch
from torch import Tensor

from scgenot.model.batches import VALIDATE, Batch, Draws, stream
from scgenot.model.genot import Genot
from scgenot.ot import Coupling, sinkhorn_divergence

# points in all and at least for each pair; the divergence, quadratic in the number, takes fewer
N_POINTS, MIN_POINTS, N_DIVERGENCE = 4096, 64, 512
# draws in all and at least for each pair, of which few have both cells held out
N_DRAWS, MIN_DRAWS = 2**20, 2**15


class Validation:
    """Pairs of cells, both held out, and how well a model predicts them.

    The targets are those that the couplings give to the held-out source cells, so that a perfect model scores the same
    however few they are, and in an unbalanced fit too.

    Parameters
    ----------
    draws
        Draws of the run; its `held_out` cells are validated on.

    See Also
    --------
    :func:`~scgenot.model.train` : makes it and asks it.
    """

    def __init__(self, draws: Draws):
        self.seed = draws.seed
        self.batches = list(_held_out_batches(draws))

    def __bool__(self) -> bool:
        return bool(self.batches)

    @torch.no_grad()
    def __call__(self, model: Genot) -> dict[str, float]:
        """Score a model, with the same random numbers each time."""
        scores = []
        for k, (source, target, condition) in enumerate(self.batches):
            generator = stream(self.seed, VALIDATE, k, device=model.device)
            loss = model.loss(source, target, condition, generator=generator)
            few = slice(N_DIVERGENCE)
            pushed = model.sample(
                source[few], None if condition is None else condition[few], rng=k
            )[:, 0]
            divergence = self._divergence(model, pushed, target[few])
            scores.append(torch.stack([divergence / model.target_dim, loss]))
        divergence, loss = torch.stack(scores).mean(0).tolist()
        return {"divergence": divergence, "validation_loss": loss}

    @staticmethod
    def _divergence(model: Genot, pushed: Tensor, target: Tensor) -> Tensor:
        # one ruler for all models: standardised cells of all pairs are 2 per dimension apart, in the mean of squares
        return sinkhorn_divergence(
            model.units.target(pushed),
            model.units.target(target),
            epsilon=0.1,
            scale=2 * model.target_dim,
            max_iterations=1000,
            tolerance=1e-3,
        )


def _held_out_batches(draws: Draws) -> Iterator[Batch]:
    n_pairs = sum(bool(masks.source.any()) for masks in draws.held_out)
    for k, masks in enumerate(draws.held_out):
        if not (masks.source.any() and masks.target.any()):
            continue
        # each minibatch is solved anew: few draws have to do
        n_draws = (
            max(N_DRAWS // n_pairs, MIN_DRAWS)
            if isinstance(draws.couplings[k], Coupling)
            else MIN_DRAWS
        )
        i, j = draws.draw(k, n_draws, VALIDATE, 0)
        found = (masks.source.to(i.device)[i] & masks.target.to(j.device)[j]).nonzero()[:, 0]
        if len(found) > 1:
            # a pair of cells may come again: the loss has other noise then
            n_points = max(N_POINTS // n_pairs, MIN_POINTS)
            found = found[torch.arange(n_points, device=found.device) % len(found)]
            yield draws.cells(torch.full_like(found, k), i[found], j[found])
