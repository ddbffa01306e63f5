"""Any plan as plain arrays, and back: enough to couple its source cells, or others, again."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scgenot._check import as_array
from scgenot.ot.cost import NAMED_COSTS, Cost
from scgenot.ot.coupling import Coupling
from scgenot.ot.elastic_cost import Elastic, elastic
from scgenot.ot.plan import Plan, SparsePlan, UnstoredPlan
from scgenot.ot.quadratic.cost import FusedCost, LiftedCost, QuadraticCost
from scgenot.ot.quadratic.intra import DenseIntra, FactoredIntra, Geometry, Intra

# entries kept of each source cell where the cost is a function that cannot be stored
TOP_K = 200


def plan_to_arrays(plan: Plan) -> dict:
    """Return what is stored of a plan.

    Parameters
    ----------
    plan
        Any plan.

    Returns
    -------
    A nested dictionary of arrays, numbers and text with a `kind`: "dual" (cost and potential of the
    targets), "sparse" (joint mass, the 200 largest entries of each row), or "draws" (a name) for a
    plan that can only be drawn from.
    """
    if getattr(plan, "to_arrays", None) is not None:
        return plan.to_arrays()
    if getattr(plan, "to_sparse", None) is not None:
        return {"kind": "sparse", "mass": sp.csr_matrix(plan.to_sparse(TOP_K))}
    return {"kind": "draws", "name": getattr(plan, "name", type(plan).__name__)}


def coupling_to_arrays(coupling: Coupling) -> dict:
    """Return the dual form of a coupling; the sparse one where its cost is no named one."""
    cost = _cost_to_arrays(coupling.cost)
    if cost is None:
        return {"kind": "sparse", "mass": coupling.to_sparse(TOP_K)}
    price = {} if coupling.price is None else {"price": float(coupling.price)}
    return {
        "kind": "dual",
        **price,
        "cost": cost,
        "target": _array(coupling.y),
        "target_weights": _array(coupling.b),
        "potential": _array(coupling.g),
        "epsilon": float(coupling.epsilon),
        "tau": [float(tau) for tau in coupling.tau],
    }


def plan_from_arrays(
    arrays: dict, source, rows=None, source_weights=None, *, device: str | None = None
) -> Plan:
    """Couple source cells by a stored plan.

    Parameters
    ----------
    arrays
        Result of :func:`plan_to_arrays`, also after a file.
    source
        Source cells, shape `(n, p)`: those of the fit, some of them, or, for a dual form, others.
    rows
        Their positions among the source cells of the fit, shape `(n,)`; None for all of them in
        order. A dual form does without.
    source_weights
        Their weights, shape `(n,)`; None for uniform.
    device
        Where a dual form computes; None for the CPU.

    Returns
    -------
    The plan.

    Raises
    ------
    ValueError
        When the stored entry is damaged, or the cells do not fit it.
    """
    source = as_array(source, "source")
    try:
        kind = str(arrays["kind"])
        read = _READERS[kind](arrays, device)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise ValueError(f"the stored plan is damaged: {error!r}. Fit again.") from error
    return read(source, rows, source_weights)


def _read_dual(arrays: dict, device: str | None) -> Callable[..., Coupling]:
    """Read a dual form, and return what couples cells by it."""
    y = _tensor(arrays["target"], device)
    b, g = (_tensor(arrays[name], device) for name in ("target_weights", "potential"))
    epsilon, tau = float(arrays["epsilon"]), tuple(float(t) for t in arrays["tau"])
    price = float(arrays["price"]) if "price" in arrays else None
    cost = _cost_from_arrays(arrays["cost"], device)
    _expect(y.ndim == 2 and b.shape == g.shape == y.shape[:1], "sizes of `target` and its weights")
    _expect(bool((b >= 0).all()) and 0 < float(b.sum()) < float("inf"), "`target_weights`")
    _expect(0 < epsilon < float("inf"), "`epsilon`")
    _expect(price is None or abs(price) < float("inf"), "`price`")
    _expect(len(tau) == 2 and all(0 < t <= 1 for t in tau), "`tau`")
    p = y.shape[1]
    if isinstance(cost, LiftedCost):
        p = len(cost.source.geometry.mean) + cost.n_shared
    _expect(cost(y.new_zeros(1, p), y[:1]).shape == (1, 1), "`cost`")

    def couple(source: np.ndarray, rows, weights) -> Coupling:
        if source.ndim != 2 or source.shape[1] != p:
            raise ValueError(f"`source` has shape {source.shape}: the plan is of {p} columns.")
        x = torch.from_numpy(np.array(source, dtype=float, order="C")).to(y)
        a = torch.full_like(x[:, 0], 1 / len(x))
        if weights is not None:
            a = torch.from_numpy(np.array(weights, dtype=float)).to(y)
        coupling = Coupling(cost, x, y, a, b, a, g, epsilon, tau, price=price)
        return replace(coupling, f=coupling.potential())

    return couple


def _read_sparse(arrays: dict, device: str | None) -> Callable[..., SparsePlan]:
    """Read a sparse form, and return what picks its rows."""
    mass = arrays["mass"]
    _expect(sp.issparse(mass), "`mass`")
    mass = sp.csr_matrix(mass)
    mass.check_format()  # before anything follows its indices
    plan = SparsePlan(mass)

    def pick(source: np.ndarray, rows, weights) -> SparsePlan:
        rows = np.arange(plan.shape[0]) if rows is None else np.asarray(rows)
        inside = (rows >= 0) & (rows < plan.shape[0])
        if len(rows) != len(source) or not inside.all():
            raise ValueError(
                f"`source` has {len(source)} cells at {len(rows)} `rows` of {plan.shape[0]}: a "
                "stored sparse plan is of the source cells of its fit alone."
            )
        if weights is None:
            weights = np.full(len(rows), 1 / plan.shape[0])
        return SparsePlan(plan.mass[rows], np.asarray(weights, dtype=float))

    return pick


def _read_draws(arrays: dict, device: str | None) -> Callable[..., UnstoredPlan]:
    """Read the name of a plan that was not stored."""
    name = str(arrays["name"])
    return lambda source, rows, weights: UnstoredPlan(name)


_READERS = {"dual": _read_dual, "sparse": _read_sparse, "draws": _read_draws}


def _expect(holds, what: str) -> None:
    """Refuse a stored value."""
    if not holds:
        raise ValueError(f"{what} cannot be those of a plan")


def _cost_to_arrays(cost: Cost) -> dict | None:
    """Return a cost as arrays, None for a function of the user's own."""
    name = next((name for name, known in NAMED_COSTS.items() if known is cost), None)
    if name is not None:
        return {"kind": name}
    if isinstance(cost, Elastic):
        return {"kind": "elastic", "strength": cost.strength, "penalty": cost.kind}
    if not isinstance(cost, LiftedCost):
        return None
    fused = cost.inner if isinstance(cost.inner, FusedCost) else None
    linear = {} if fused is None else _cost_to_arrays(fused.linear)
    sides = {side: _intra_to_arrays(getattr(cost, side)) for side in ("source", "target")}
    if linear is None or None in sides.values():
        return None
    quadratic: QuadraticCost = cost.inner if fused is None else fused.quadratic
    grams = {name: _array(getattr(quadratic, name)) for name in ("core", "gram_x", "gram_y")}
    out = {"kind": "quadratic", "n_shared": cost.n_shared, **grams, **sides}
    if fused is not None:
        scales = {"alpha": float(fused.alpha), "linear_scale": float(fused.linear_scale)}
        out |= {"linear": linear, **scales}
    return out


def _cost_from_arrays(arrays: dict, device: str | None) -> Cost:
    """Make a cost from arrays."""
    if str(arrays["kind"]) == "elastic":
        return elastic(float(arrays["strength"]), kind=str(arrays["penalty"]))
    if str(arrays["kind"]) != "quadratic":
        return NAMED_COSTS[str(arrays["kind"])]
    inner = QuadraticCost(*(_tensor(arrays[name], device) for name in ("core", "gram_x", "gram_y")))
    n_shared = int(arrays["n_shared"])
    if n_shared:
        linear = _cost_from_arrays(arrays["linear"], device)
        inner = FusedCost(
            inner, linear, float(arrays["alpha"]), float(arrays["linear_scale"]), n_shared
        )
    sides = (_intra_from_arrays(arrays[side], device) for side in ("source", "target"))
    return LiftedCost(inner, *sides, n_shared)


def _intra_to_arrays(intra: Intra) -> dict | None:
    """Return a cost within a population as arrays, None for a function of the user's own."""
    out = {
        "mean": _array(intra.geometry.mean),
        "unit": bool(intra.geometry.unit),
        "scale": float(intra.scale),
    }
    if isinstance(intra, FactoredIntra):
        return {**out, "kind": intra.kind}
    cost = _cost_to_arrays(intra.cost)
    return None if cost is None else {**out, **cost, "reference": _array(intra.reference)}


def _intra_from_arrays(arrays: dict, device: str | None) -> Intra:
    """Make a cost within a population from arrays."""
    geometry = Geometry(_tensor(arrays["mean"], device), bool(arrays["unit"]))
    scale, kind = float(arrays["scale"]), str(arrays["kind"])
    _expect(0 < scale < float("inf"), "`scale`")
    if "reference" not in arrays:
        _expect(kind in ("sqeuclidean", "inner"), "`kind` of the cost")
        return FactoredIntra(geometry, kind, scale)
    return DenseIntra(geometry, NAMED_COSTS[kind], _tensor(arrays["reference"], device), scale)


def _array(values: Tensor) -> np.ndarray:
    """Return a tensor as an array."""
    return values.cpu().numpy()


def _tensor(values, device: str | None) -> Tensor:
    """Return a stored array as a tensor of its own precision; finite numbers only."""
    values = np.array(values, order="C")
    _expect(values.dtype.kind == "f" and bool(np.isfinite(values).all()), "numbers")
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("="))).to(device or "cpu")
