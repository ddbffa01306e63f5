"""What is reported of a plan: measured on the plan that is handed out, in its own precision."""

from dataclasses import asdict, dataclass, fields, replace

import torch

from scgenot._outcome import Outcome
from scgenot._warn import warn_user
from scgenot.ot.blocks import exp_, row_blocks
from scgenot.ot.cost import against
from scgenot.ot.iterate import divergence_from
from scgenot.ot.partial import log_growth, target_error

# the median cell of a blurred coupling has more effective targets than this share of all ...
BLURRED_SHARE = 1 / 4
# ... and more than this, about what a graph of neighbors holds
BLURRED_TARGETS = 20
# with fewer target cells the rule says nothing
BLURRED_CELLS = 80
# a plan with less mass, or with more than this share of the targets of the product, has collapsed
COLLAPSED_MASS = 0.1
COLLAPSED_SHARE = 0.9
# a cell of which a partial plan keeps less is unassigned
KEPT = 0.5
# stands for the logarithm of 0
LEAST = -1e30


class NotSolved(FloatingPointError):
    """A solver found no plan because of numerical overflow, usually because epsilon is too small.

    See Also
    --------
    :class:`~scgenot.ot.Sinkhorn` : raises it.
    """


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of a solver, and sharpness of the coupling.

    Parameters
    ----------
    method
        Description of the solver, including minibatches and extension from a subset.
    epsilon, epsilon_absolute
        Entropic regularization, relative to the mean cost and in the units of the cost.
    marginal_error
        L1 distance between the marginals of the plan and those implied by its potentials (the
        weights, if balanced).
    iterations
        Total number of Sinkhorn iterations.
    converged
        Whether the marginal error is below the tolerance, up to rounding of the potentials (and,
        for quadratic costs, the plan has converged).
    mass
        Total mass of the plan; 1 if balanced.
    effective_targets
        Median over source cells of the effective number of targets, `1 / sum_j p_j^2`.
    cost
        Mean cost of the plan, `<c, P> / mass`.
    objective
        Value of the objective: transport cost (linear) or distortion (quadratic) plus epsilon times
        KL, plus the penalties of the marginals if unbalanced, without the price of unmatched mass.
        NaN for a dense quadratic coupling that was extended from a subset.
    outcomes
        How the solver ended, problems first.

    See Also
    --------
    :class:`~scgenot.ot.Coupling` : has the attribute `diagnostics`.
    """

    method: str
    epsilon: float
    epsilon_absolute: float
    marginal_error: float
    iterations: int
    converged: bool
    mass: float = float("nan")
    effective_targets: float = float("nan")
    cost: float = float("nan")
    objective: float = float("nan")
    outcomes: tuple[Outcome, ...] = ()

    def to_dict(self) -> dict:
        """Return the fields as a dictionary, with the outcomes as text in `outcome`."""
        row = asdict(self)
        ended = Outcome.CONVERGED if self.converged else Outcome.NOT_CONVERGED
        ends = row.pop("outcomes") or [ended]
        return {**row, "outcome": ", ".join(end.label for end in ends)}


def describe(plan) -> dict:
    """Return the row of a table about any plan.

    Parameters
    ----------
    plan
        Any object with `sample_pairs`, with or without `diagnostics`.

    Returns
    -------
    Columns as in :meth:`Diagnostics.to_dict`. Of a plan without diagnostics the name of its type
    as `method`, "unknown" as `outcome`, None as `converged` and NaN elsewhere.

    Examples
    --------
    >>> describe(coupling)["outcome"]
    """
    found = getattr(plan, "diagnostics", None)
    if found is not None:
        return found.to_dict()
    unknown = {f.name: float("nan") for f in fields(Diagnostics) if f.name != "outcomes"}
    name = type(plan).__name__
    return {**unknown, "method": name, "converged": None, "outcome": "unknown"}


@dataclass(frozen=True)
class Sums:
    """Sums over the plan of a coupling, and the source potential that its g implies."""

    f: torch.Tensor
    mass: float
    cost: float
    divergence: float
    penalty: float
    marginal_error: float
    effective_targets: float


def measure(coupling) -> Sums:
    """Sum over the plan of a coupling in one pass; rows are exact, as f follows from g."""
    eps, (tau_a, tau_b), a, b = coupling.epsilon, coupling.tau, coupling.a, coupling.b
    # finite where a target has no weight, so that 0 times it is 0
    log_b = b.log().clamp_(min=LEAST)
    shift, target = coupling.g / eps + log_b, torch.zeros_like(b)
    log_sums, sent, effective, cost, divergence = [], [], [], 0.0, 0.0
    costs = against(coupling.cost, coupling.y)
    for rows in row_blocks(*coupling.shape, coupling.device):
        own_cost = costs(coupling.x[rows])
        log_p = (own_cost / -eps).add_(shift)
        top = log_p.amax(1)
        p = exp_(log_p.sub_(top[:, None]).clone())
        total = p.sum(1)
        log_sums.append(top + total.log())
        # not the sum itself: where the row's logarithms are too large to hold it, the mass tells
        log_scale = top - log_sums[-1]
        p *= (scale := log_scale.exp())[:, None]
        log_sent = log_growth(log_sums[-1].double(), eps, tau_a, coupling.price)
        sent.append(a[rows] * log_sent.exp())
        target += sent[-1].to(p) @ p
        cost += sent[-1] @ (p * own_cost).sum(1).double()
        # mean of log(p / b) in a row
        log_ratio = log_p.mul_(p).sum(1) + log_scale * scale * total - p @ log_b
        divergence += sent[-1] @ (log_ratio.double() + log_sent)
        effective.append(1 / p.square_().sum(1))
    f = -tau_a * eps * torch.cat(log_sums)
    sent, effective = torch.cat(sent), torch.cat(effective)
    sides = (tau_a, sent, a), (tau_b, target, b)
    return Sums(
        f=f if coupling.price is None else f.clamp(max=coupling.price),
        mass=float(sent.sum()),
        cost=float(cost),
        divergence=float(divergence - sent.sum()) + 1,
        penalty=sum(t / (1 - t) * eps * divergence_from(w, p) for t, p, w in sides if t < 1),
        marginal_error=float(target_error(coupling, target).sum(dtype=torch.float64)),
        effective_targets=float(effective[a > 0].median()),
    )


def with_diagnostics(
    coupling,
    solved,
    *,
    method: str,
    epsilon: float,
    tolerance: float,
    transport=None,
    is_extended: bool = False,
):
    """Return the coupling with the diagnostics of its own plan, and f from its g.

    `solved` has `iterations` and `converged`: a solution, or diagnostics of an earlier one.

    `transport(coupling)` gives the part of the objective without entropy; None for the cost.
    """
    sums = measure(coupling)
    if not 0 < sums.mass < float("inf"):
        raise NotSolved(
            f"The plan has mass {sums.mass}: `epsilon`={epsilon:.3g} is too small for these cells. "
            "Raise it, or solve with `dtype=torch.float64`."
        )
    # an iteration stops before its last update; potentials are rounded when they are stored
    precision = torch.finfo(coupling.g.dtype).eps
    rounding = precision * float(coupling.b @ coupling.g.abs()) / coupling.epsilon
    is_within = sums.marginal_error <= 2 * tolerance + rounding
    value = sums.cost if transport is None else transport(coupling)
    found = Diagnostics(
        method=method,
        epsilon=epsilon,
        epsilon_absolute=coupling.epsilon,
        marginal_error=sums.marginal_error,
        iterations=solved.iterations,
        converged=solved.converged and is_within,
        mass=sums.mass,
        effective_targets=sums.effective_targets,
        cost=sums.cost / sums.mass,
        objective=value + coupling.epsilon * sums.divergence + sums.penalty,
    )
    ends = _problems(found, coupling)
    if not solved.converged or not (is_within or is_extended):
        ends.append(Outcome.NOT_CONVERGED)
    if is_extended and not is_within:
        ends.append(Outcome.EXTENDED)
    if found.converged:
        ends.append(Outcome.CONVERGED)
    return replace(coupling, f=sums.f, diagnostics=replace(found, outcomes=tuple(ends)))


def _problems(found: Diagnostics, coupling) -> list[Outcome]:
    """Say what is wrong with a plan besides its marginals."""
    n_targets, sharpness = coupling.shape[1], found.effective_targets
    ends = []
    is_product = sharpness > COLLAPSED_SHARE / float(coupling.b.double().square().sum())
    is_lost = found.mass < COLLAPSED_MASS and coupling.price is None
    if is_lost or (is_product and n_targets >= BLURRED_CELLS):
        ends.append(Outcome.COLLAPSED)
    elif n_targets >= BLURRED_CELLS and sharpness > max(n_targets * BLURRED_SHARE, BLURRED_TARGETS):
        ends.append(Outcome.BLURRED)
    if coupling.price is not None and float(coupling.growth()[coupling.a > 0].max()) < KEPT:
        ends.append(Outcome.UNMATCHED)
    if coupling.confidence is not None and coupling.confidence.ambiguous:
        ends.append(Outcome.AMBIGUOUS)
    return ends


def warn_of_problems(coupling) -> None:
    """Warn once of a coupling that did not converge, is blurred or collapsed."""
    found, (n, m) = coupling.diagnostics, coupling.shape
    # who is asked to look at an ambiguous match knows its modalities: the caller
    problems = [e for e in found.outcomes if e.is_problem and e is not Outcome.AMBIGUOUS]
    if problems:
        warn_user(
            f"Coupling of {n} x {m} cells at `epsilon`={found.epsilon:.3g} (marginal error "
            f"{found.marginal_error:.2g} after {found.iterations} iterations, mass {found.mass:.3g}"
            f", {found.effective_targets:.3g} effective targets). "
            + " ".join(end.sentence for end in problems)
        )
