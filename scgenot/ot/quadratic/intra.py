"""Costs within one population, `C = U V^T`, which a quadratic coupling compares."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scgenot.ot.cost import Cost, FittedCost, bulk_center, fitted, is_typical

GEOMETRIES = ("unit", "centred", "raw")


@dataclass(frozen=True)
class Geometry:
    """How the rows of a representation are seen."""

    mean: Tensor
    unit: bool

    @classmethod
    def fit(cls, x: Tensor, weights: Tensor, kind: str) -> "Geometry":
        """Make the geometry `kind`, one of "unit", "centred" and "raw", for these cells."""
        if kind not in GEOMETRIES:
            raise ValueError(f"`geometry` is {kind!r}: choose one of {', '.join(GEOMETRIES)}.")
        mean = weights @ x / weights.sum()
        return cls(torch.zeros_like(mean) if kind == "raw" else mean, kind == "unit")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the rows in this geometry, shape `(n, p)`."""
        rows = x - self.mean
        return torch.nn.functional.normalize(rows, dim=1) if self.unit else rows


@dataclass(frozen=True)
class FactoredIntra:
    """Squared Euclidean or inner-product cost within a population, in exact factored form."""

    geometry: Geometry
    kind: str
    scale: float = 1.0

    def left(self, x: Tensor) -> Tensor:
        """Return U for cells `x` of shape `(n, p)`, divided by the scale."""
        rows = self.geometry(x)
        if self.kind == "sqeuclidean":
            square = rows.square().sum(1, keepdim=True)
            rows = torch.cat([square, torch.ones_like(square), -2 * rows], dim=1)
        return rows / self.scale

    def right(self, x: Tensor) -> Tensor:
        """Return V for cells `x` of shape `(n, p)`."""
        rows = self.geometry(x)
        if self.kind == "sqeuclidean":
            square = rows.square().sum(1, keepdim=True)
            rows = torch.cat([torch.ones_like(square), square, rows], dim=1)
        return rows

    def restrict(self, cells: Tensor) -> "FactoredIntra":
        """Return the cost itself: it does not depend on which cells are looked at."""
        return self

    def size(self, x: Tensor, weights: Tensor) -> float:
        """Mean cost over all pairs of cells, exactly, in O(n p)."""
        if self.kind == "inner":
            rows = self.geometry(x)
            return float(weights @ (rows - weights @ rows).square().sum(1)) / self.scale
        return float((weights @ self.left(x)) @ (weights @ self.right(x)))


@dataclass(frozen=True)
class DenseIntra:
    """Any cost within a population."""

    geometry: Geometry
    cost: Cost
    reference: Tensor
    scale: float = 1.0

    def left(self, x: Tensor) -> Tensor:
        """Return the costs from cells `x` to the reference cells, shape `(n, n_reference)`."""
        return self.cost(self.geometry(x), self.reference) / self.scale

    def right(self, x: Tensor) -> Tensor:
        """Return the identity: only the reference population itself can stand here."""
        return torch.eye(len(x), dtype=x.dtype, device=x.device)

    def restrict(self, cells: Tensor) -> "DenseIntra":
        """Return the same cost with some of the reference cells as its reference."""
        return replace(self, reference=self.reference[cells])

    def size(self, x: Tensor, weights: Tensor) -> float:
        """Mean cost over all pairs of cells."""
        return float(weights @ self.left(x) @ weights)


Intra = FactoredIntra | DenseIntra


def fit_intra(
    cost: str | Cost | FittedCost,
    x: Tensor,
    weights: Tensor,
    *,
    geometry: str,
    scaled: bool,
    max_dense_cells: int,
) -> Intra:
    """Prepare a cost within a population."""
    if bool((x == x[0]).all()):
        raise ValueError(
            "All cells of a population have the same representation: there is nothing to compare."
        )
    if not (isinstance(cost, str) or callable(cost) or hasattr(cost, "fit")):
        raise TypeError(f"`intra_cost={cost!r}` must be text or a cost function.")
    # one cell at 1e6 must set neither the center nor the unit
    weights = weights * is_typical((x - bulk_center(x)).square().sum(1))
    rows = Geometry.fit(x, weights, geometry)
    if cost == "sqeuclidean" and geometry == "raw":
        # distances do not see a shift; the factored form does, in float32, where the cells lie far
        # from the origin
        rows = Geometry.fit(x, weights, "centred")
    if isinstance(cost, str):
        if cost not in ("sqeuclidean", "inner"):
            raise ValueError(
                f'`intra_cost` is {cost!r}: choose "sqeuclidean", "inner" or pass a cost function.'
            )
        intra = FactoredIntra(rows, cost)
    elif len(x) > max_dense_cells:
        raise ValueError(
            f"`intra_cost` is a function and the population has {len(x)} cells, over "
            f"`max_dense_cells`={max_dense_cells}. Subsample the cells, raise the limit, or use "
            "'sqeuclidean'."
        )
    else:
        reference = rows(x)
        intra = DenseIntra(rows, fitted(cost, reference, reference), reference)
    if not scaled:
        return intra
    scale = intra.size(x, weights / weights.sum())
    if not 0 < scale < float("inf"):
        raise ValueError(
            f"`intra_cost` has mean {scale} over the cells: it must be positive and finite."
        )
    return replace(intra, scale=scale)
