"""A coupling as plain arrays, and back: enough to couple any source cell to the same targets again."""

import numpy as np
import torch
from torch import Tensor

from scgenot.ot import cost as costs
from scgenot.ot.cost import Cost
from scgenot.ot.coupling import Coupling
from scgenot.ot.quadratic.cost import FusedCost, LiftedCost, QuadraticCost
from scgenot.ot.quadratic.intra import DenseIntra, FactoredIntra, Geometry, Intra

NAMED_COSTS = ("squared_euclidean", "euclidean", "cosine", "coulomb")


def to_arrays(coupling: Coupling) -> dict | None:
    """Turn what a coupling knows of its targets into a nested dictionary of arrays."""
    cost = _cost_to_arrays(coupling.cost) if isinstance(coupling, Coupling) else None
    if cost is None:
        return None
    return {
        "cost": cost,
        "target": coupling.y.cpu().numpy(),
        "target_weights": coupling.b.cpu().numpy(),
        "potential": coupling.g.cpu().numpy(),
        "epsilon": float(coupling.epsilon),
        "tau": [float(tau) for tau in coupling.tau],
    }


def from_arrays(
    arrays: dict, source, source_weights=None, *, device: str | None = None
) -> Coupling:
    """Couple source cells, those of the fit or others, to the stored targets."""
    y = _tensor(arrays["target"], device)
    x = torch.as_tensor(np.asarray(source)).to(y)
    a = (
        torch.full_like(x[:, 0], 1 / len(x))
        if source_weights is None
        else _tensor(source_weights, device).to(y)
    )
    b, g = _tensor(arrays["target_weights"], device), _tensor(arrays["potential"], device)
    tau = tuple(float(t) for t in arrays["tau"])
    coupling = Coupling(
        _cost_from_arrays(arrays["cost"], device), x, y, a, b, a, g, float(arrays["epsilon"]), tau
    )
    return Coupling(coupling.cost, x, y, a, b, coupling.potential(), g, coupling.epsilon, tau)


def _cost_to_arrays(cost: Cost) -> dict | None:
    if getattr(cost, "__module__", "") == costs.__name__ and cost.__name__ in NAMED_COSTS:
        return {"kind": cost.__name__}
    if not isinstance(cost, LiftedCost):
        return None
    fused = cost.inner if isinstance(cost.inner, FusedCost) else None
    linear = {} if fused is None else _cost_to_arrays(fused.linear)
    sides = {side: _intra_to_arrays(getattr(cost, side)) for side in ("source", "target")}
    if linear is None or None in sides.values():
        return None
    quadratic: QuadraticCost = cost.inner if fused is None else fused.quadratic
    grams = {name: getattr(quadratic, name).cpu().numpy() for name in ("core", "gram_x", "gram_y")}
    out = {"kind": "quadratic", "n_shared": cost.n_shared, **grams, **sides}
    if fused is not None:
        out |= {
            "linear": linear,
            "alpha": float(fused.alpha),
            "linear_scale": float(fused.linear_scale),
        }
    return out


def _cost_from_arrays(arrays: dict, device: str | None) -> Cost:
    if arrays["kind"] != "quadratic":
        return getattr(costs, str(arrays["kind"]))
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
    out = {
        "mean": intra.geometry.mean.cpu().numpy(),
        "unit": bool(intra.geometry.unit),
        "scale": float(intra.scale),
    }
    if isinstance(intra, FactoredIntra):
        return {**out, "kind": intra.kind}
    cost = _cost_to_arrays(intra.cost)
    return None if cost is None else {**out, **cost, "reference": intra.reference.cpu().numpy()}


def _intra_from_arrays(arrays: dict, device: str | None) -> Intra:
    geometry = Geometry(_tensor(arrays["mean"], device), bool(arrays["unit"]))
    scale, kind = float(arrays["scale"]), str(arrays["kind"])
    if "reference" not in arrays:
        return FactoredIntra(geometry, kind, scale)
    return DenseIntra(geometry, getattr(costs, kind), _tensor(arrays["reference"], device), scale)


def _tensor(values, device: str | None) -> Tensor:
    return torch.as_tensor(np.asarray(values), device=device)
