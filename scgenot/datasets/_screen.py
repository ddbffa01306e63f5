"""A screen of drugs, doses and combinations whose responses follow a known law."""

from collections.abc import Sequence
from itertools import combinations as pairs_of

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng, numpy_rng

TYPES = ("T1", "T2", "T3")
SHARES = (0.5, 0.3, 0.2)
DONORS = ("donor1", "donor2")
LATENT = 8
MECHANISMS = 3
CENTRES = np.array(
    [[7, 0, 0, 0, 0, 0, 0, 0], [0, 6, 0, 2, 0, 0, 0, 0], [-2, -3, 5, 0, 0, 0, 0, 0]], dtype=float
)
SPREAD = np.array([1.0, 0.8, 0.6, 0.6, 0.5, 0.4, 0.4, 0.3])
DONOR = np.array([0, 0, 0, 0, 0, 0, 0.5, -0.5])  # what the second donor adds to the first
SENSITIVITY = np.array([1.0, 0.3, 1.7])  # mean of each type
LEAN = 0.5  # how much the sensitivity of a cell grows with its own first coordinate
EC50 = 1.0
SLOPE = 1.5
STRENGTH = 3.0  # length of the response to a drug at full dose, of a type of sensitivity 1


def screen(
    n_cells: int = 200,
    *,
    drugs: int | Sequence[str] = ("A", "B", "C", "D"),
    doses: Sequence[float] = (1.0,),
    combinations: bool | Sequence[str] = True,
    interaction: float = 0.0,
    heterogeneity: float = 0.3,
    n_genes: int = 60,
    noise: float = 0.1,
    rng: Rng = 0,
) -> AnnData:
    """Simulate a screen of drugs, doses and combinations with known responses.

    An untreated cell is a point `z` in eight latent dimensions: the center of its type (three, of
    different sizes), an individual skewed deviation and a shift of its donor (two). Treatment at a
    dose adds

        `u * sensitivity * hill(dose) * (sum + interaction * product) @ mechanism`

    with sum and product of `embedding` over the drugs of the combination, the product for two drugs
    only, and

    - `hill(dose) = dose^1.5 / (1 + dose^1.5)`: dose 0 is control, dose 1 half of the full effect;
    - `sensitivity`, a property of the cell determined by its state, `s_type * (1 + w / 2)`, where
      `w` is its deviation along the first axis in units of its standard deviation; a mean shift is
      thus wrong for most cells, and a mean shift per type for many;
    - `u`, unobserved variation with a Gamma distribution of mean 1: the response of a given cell is
      a skewed distribution, not a single value;
    - `embedding`, three numbers per drug that determine its effect, so that unseen drugs can be
      predicted.

    Parameters
    ----------
    n_cells
        Number of cells per condition: control, and each drug and combination at each dose.
    drugs
        Names of the drugs, without `+`, or a number for `D1`, `D2`, and so on. The embedding of a
        drug depends only on its position.
    doses
        Positive doses of each drug. Both drugs of a combination have the same dose.
    combinations
        Whether to add all pairs of drugs as `A+B`, or names of combinations of two or more drugs.
    interaction
        Deviation of pairs from additive effects; 0 for additive effects.
    heterogeneity
        Standard deviation of `u`; 0 for a deterministic response.
    n_genes
        Number of genes, eight or more.
    noise
        Standard deviation of the noise of each gene.
    rng
        Seed. Properties of drugs, types and genes do not depend on the numbers of cells, doses and
        conditions.

    Returns
    -------
    AnnData with log-like expression in `X`, linear in the latent state, and

    `obs["drug"]`, `obs["dose"]`
        `"control"` and 0, or drugs and dose.
    `obs["cell_type"]`, `obs["donor"]`
        Cell type and donor, not changed by treatment.
    `obs["sensitivity"]`
        Sensitivity of the cell (before treatment).
    `obsm["X_pca"]`
        The eight coordinates of the cell along the axes of the genes: the latent state plus noise
        of `noise`.
    `obsm["X_latent"]`, `obsm["X_untreated"]`
        The latent state, and the latent state without treatment; equal for control cells.
    `uns["embedding"]`
        DataFrame, drugs x 3.
    `uns["truth"]`
        `mechanism` (3 x 8), `sensitivity` (one per type), `ec50`, `slope`, `interaction`,
        `heterogeneity`, `loadings` (8 x genes, orthonormal rows) and `baseline` (one per gene).

    Raises
    ------
    ValueError
        When a drug is duplicated, is called control or has a `+` in its name, a combination
        contains an unknown drug, a dose is not positive, or there are fewer than 8 genes.

    Examples
    --------
    >>> adata = sg.datasets.screen()
    >>> seen = adata[adata.obs["drug"] != "A+B"].copy()
    >>> sg.tl.fit_perturbation(seen, "drug", "control", embedding=adata.uns["embedding"])
    """
    drugs = [f"D{i + 1}" for i in range(drugs)] if isinstance(drugs, int) else list(drugs)
    if isinstance(combinations, bool):
        combinations = ["+".join(pair) for pair in pairs_of(drugs, 2)] if combinations else []
    conditions = [*drugs, *combinations]
    _check(drugs, conditions, doses, n_genes)
    law, cells = numpy_rng(rng).spawn(2)
    truth = _truth(n_genes, interaction, heterogeneity, law)
    embedding = pd.DataFrame(
        law.uniform(-np.sqrt(3), np.sqrt(3), size=(len(drugs), MECHANISMS)),
        index=drugs,
        columns=[f"mechanism{i}" for i in range(MECHANISMS)],
    )
    plan = [("control", 0.0), *((name, float(dose)) for name in conditions for dose in doses)]
    name, dose = (np.repeat(column, n_cells) for column in zip(*plan, strict=True))
    obs, untreated = _cells(len(name), cells)
    obs["drug"] = pd.Categorical(name, ["control", *conditions])
    obs["dose"] = dose

    push = np.stack([_push(one, embedding, interaction) for one in ["control", *conditions]])
    effect = _hill(dose) * obs["sensitivity"].to_numpy() * _chance(len(name), heterogeneity, cells)
    latent = untreated + effect[:, None] * (push @ truth["mechanism"])[obs["drug"].cat.codes]
    error = noise * cells.normal(size=(len(name), n_genes))
    values = truth["baseline"] + latent @ truth["loadings"] + error
    along = (values - truth["baseline"]) @ truth["loadings"].T
    return AnnData(
        values.astype(np.float32),
        obs=obs[["drug", "dose", "cell_type", "donor", "sensitivity"]],
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
        obsm={"X_pca": along.astype(np.float32), "X_latent": latent, "X_untreated": untreated},
        uns={"embedding": embedding, "truth": truth},
    )


def _check(drugs: list[str], conditions: list[str], doses: Sequence[float], n_genes: int) -> None:
    is_odd = "control" in drugs or any("+" in drug for drug in drugs)
    if is_odd or not drugs or len(set(drugs)) < len(drugs):
        raise ValueError(
            f"`drugs={drugs}` must be distinct names without '+' and other than 'control'."
        )
    combined = conditions[len(drugs) :]
    if len({frozenset(name.split("+")) for name in combined}) < len(combined):
        raise ValueError(f"`combinations={combined}` must name each combination once.")
    for name in combined:
        parts = name.split("+")
        if len(set(parts)) < max(len(parts), 2) or not set(parts) <= set(drugs):
            raise ValueError(
                f"`combinations` has {name!r}: join two or more of the drugs {drugs} by '+'."
            )
    if len(doses) == 0 or not all(0 < dose < np.inf for dose in doses):
        raise ValueError(
            f"`doses={list(doses)}` must be positive; control, dose 0, is always included."
        )
    if n_genes < LATENT:
        raise ValueError(
            f"`n_genes={n_genes}` must be at least {LATENT}, the latent dimensions of a cell."
        )


def _truth(
    n_genes: int, interaction: float, heterogeneity: float, rng: np.random.Generator
) -> dict:
    """What all cells and drugs share; drawn first, so that it does not depend on their number."""
    mechanism = np.linalg.qr(rng.normal(size=(LATENT, MECHANISMS)))[0].T
    return {
        "mechanism": STRENGTH / np.sqrt(MECHANISMS) * mechanism,
        "sensitivity": SENSITIVITY.copy(),
        "ec50": EC50,
        "slope": SLOPE,
        "interaction": float(interaction),
        "heterogeneity": float(heterogeneity),
        "loadings": np.linalg.qr(rng.normal(size=(n_genes, LATENT)))[0].T,
        # high enough to keep nearly all expression positive
        "baseline": 4 + rng.gamma(2.0, size=n_genes),
    }


def _cells(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Labels, sensitivity and latent state of untreated cells."""
    kind, donor = rng.choice(len(TYPES), n, p=SHARES), rng.integers(len(DONORS), size=n)
    # skewed, of mean 0 and variance 1
    own = (rng.beta(1, 3, size=(n, LATENT)) - 1 / 4) / np.sqrt(3 / 80)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(kind, TYPES),
            "donor": pd.Categorical.from_codes(donor, DONORS),
            "sensitivity": SENSITIVITY[kind] * (1 + LEAN * own[:, 0]),
        },
        index=[f"cell-{i}" for i in range(n)],
    )
    return obs, CENTRES[kind] + own * SPREAD + donor[:, None] * DONOR


def _hill(dose: np.ndarray) -> np.ndarray:
    return dose**SLOPE / (EC50**SLOPE + dose**SLOPE)


def _push(condition: str, embedding: pd.DataFrame, interaction: float) -> np.ndarray:
    """Embedding of a condition: sum over its drugs, for pairs plus the interaction."""
    if condition == "control":
        return np.zeros(embedding.shape[1])
    rows = embedding.loc[condition.split("+")].to_numpy()
    return rows.sum(0) + (interaction * rows.prod(0) if len(rows) == 2 else 0)


def _chance(n: int, heterogeneity: float, rng: np.random.Generator) -> np.ndarray:
    """Gamma of mean 1 and the given standard deviation."""
    if heterogeneity == 0:
        return np.ones(n)
    return rng.gamma(heterogeneity**-2, heterogeneity**2, size=n)
