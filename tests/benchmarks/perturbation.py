"""Predicted responses, with baselines: `python tests/benchmarks/perturbation.py`.

Cells of real sets are log-normalised and compared in 30 principal components of 2,000 variable
genes, divided by one number so that cells have a mean variance of 1 a component. In these units
random treated cells have an energy distance of about 3 within the types of `kang_ifnb`.

energy, type energy: unbiased energy distance of the populations, and its mean over the types of the
source cells; both can fall below 0. Moved: energy of the prediction moved to the mean of the true
cells, so that what is wrong is all but the mean. Variance: total variance of the prediction over
that of the true cells. MMD: unbiased. R2 means, R2 variances, top-50: of
genes decoded from the components, the last one the correlation of the 50 largest changes. Ceiling:
half of the true treated cells against the other half, 20 times."""

import argparse
import resource
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData

sys.path.insert(0, str(Path(__file__).parents[1]))

import scgenot as sg
from realdata import load
from scgenot import baselines
from scgenot.metrics import (
    change_correlation,
    energy_distance,
    grouped,
    mmd,
    r2_means,
    r2_variances,
)

Row = dict[str, float | str]
EMBEDDING = {"adjust": True}
# of `papalexi_crispr`: genes of its interferon response and of regulators with an effect
CONTROL = "non-targeting"
KNOCK_OUTS = ["IFNGR1", "IFNGR2", "JAK2", "STAT1", "STAT2"]
KNOCK_OUTS += ["IRF1", "NFKBIA", "SMAD4", "BRD4", "CUL3"]
energy = partial(energy_distance, unbiased=True)
# follows the couplings more closely; chosen on the eight donors of `kang_ifnb`
CLOSER = {"solver": sg.ot.Sinkhorn(epsilon=0.005)}


def kang() -> AnnData:
    """PBMC of eight donors, with and without interferon beta, log-normalised."""
    adata = load("kang_ifnb/kang_ifnb")
    adata = adata[~adata.obs["donor"].isin(["unmatched", "doublet/amb"])].copy()
    return log_normalised(
        adata, treated=adata.obs["condition"] == "stim", kind=adata.obs["predicted_type"]
    )


def labelled() -> AnnData:
    """PBMC of two donors and five published types, with and without interferon beta."""
    adata = load("kang_ifnb_labelled/kang_muscat")
    return log_normalised(
        adata, treated=adata.obs["group_id"] == "stim", kind=adata.obs["cluster_id"]
    )


def log_normalised(adata: AnnData, treated: pd.Series, kind: pd.Series) -> AnnData:
    """Normalise, and give treatment and type the same names in every set."""
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.obs["drug"] = np.where(treated, "IFNB", "control")
    adata.obs["kind"] = kind.astype(str)
    return adata


def embedded(adata: AnnData, known: np.ndarray | None = None) -> AnnData:
    """Cells in the principal components of the known cells (None: all), with the unit.

    Known cells have the coordinates that `embed` gave them, others are projected.
    """
    train = adata.copy() if known is None else adata[known].copy()
    sc.pp.highly_variable_genes(train, n_top_genes=min(2000, adata.n_vars))
    sg.tl.embed(train, method="pca", n_components=30, **EMBEDDING)
    out = adata.copy()
    sg.tl.project(out, train, key="pca")
    out.obsm["X_pca"][slice(None) if known is None else known] = train.obsm["X_pca"]
    out.uns["unit"] = float(np.sqrt(train.obsm["X_pca"].var(0).mean()))
    return out


def scores(
    predicted: np.ndarray,
    kinds: np.ndarray,
    truth: AnnData,
    control: AnnData,
    *,
    min_cells: int = 10,
) -> Row:
    """All figures of a prediction; `kinds` are the types of its source cells."""
    within = partial(grouped, energy, min_cells=min_cells)
    unit, true = truth.uns["unit"], truth.obsm["X_pca"]
    genes, true_genes, control_genes = (
        sg.tl.decode(np.asarray(cells), truth, key="pca").to_numpy()
        for cells in (predicted, true, control.obsm["X_pca"])
    )
    return {
        "energy": energy(predicted / unit, true / unit),
        "type energy": within(predicted / unit, true / unit, kinds, truth.obs["kind"]),
        "moved": energy((predicted - predicted.mean(0) + true.mean(0)) / unit, true / unit),
        "variance": float(predicted.var(0).sum() / true.var(0).sum()),
        "MMD": mmd(predicted, true, unbiased=True),
        "R2 means": r2_means(genes, true_genes),
        "R2 variances": r2_variances(genes, true_genes),
        "top-50": change_correlation(genes, true_genes, control_genes),
    }


def predictions(
    source: AnnData, target: AnnData, query: AnnData, seed: int
) -> dict[str, np.ndarray]:
    """What trivial methods predict for control cells, given control and treated cells."""
    cells = [part.obsm["X_pca"] for part in (source, target, query)]
    kinds = tuple(part.obs["kind"] for part in (source, target, query))
    return {
        "identity": baselines.identity(cells[2]),
        "mean shift": baselines.mean_shift(*cells),
        "mean shift per type": baselines.mean_shift(*cells, groups=kinds),
        "Gaussian map": baselines.gaussian_map(*cells),
        "random treated cells": baselines.random_targets(cells[1], query.n_obs, rng=seed),
        "discrete plan": baselines.plan_nearest(*cells, epsilon=0.02, rng=seed),
        "discrete plan, displacement": baselines.plan_nearest(
            *cells, epsilon=0.02, displacement=True, rng=seed
        ),
    }


def compared(
    cells: AnnData, fitted: np.ndarray, asked: np.ndarray, seed: int, **options
) -> list[Row]:
    """Fit on some cells, predict the treated from the control cells of others, score all methods.

    `options` are those of `fit_perturbation`.
    """
    simple = simple_rows(cells, fitted, asked, seed)
    return [*simple, of_genot(cells, fitted, asked, seed, **options)]


def simple_rows(cells: AnnData, fitted: np.ndarray, asked: np.ndarray, seed: int) -> list[Row]:
    """Scores of simple methods and of 20 ceilings."""
    control = (cells.obs["drug"] == "control").to_numpy()
    query, truth = cells[asked & control], cells[asked & ~control]
    # of a type without treated cells the baselines would know no partner: they see the types that
    # have both
    known = fitted & cells.obs["kind"].isin(cells.obs["kind"][fitted & ~control]).to_numpy()
    predicted = predictions(cells[known & control], cells[fitted & ~control], query, seed)
    rows = [
        {"method": method, "seed": seed, **scores(values, query.obs["kind"], truth, query)}
        for method, values in predicted.items()
    ]
    return [
        *rows,
        *({"method": "ceiling", "seed": seed, **ceiling(truth, query, k)} for k in range(20)),
    ]


def of_genot(cells: AnnData, fitted: np.ndarray, asked: np.ndarray, seed: int, **options) -> Row:
    """Fit, predict and score, as :func:`compared`."""
    control = (cells.obs["drug"] == "control").to_numpy()
    train, query = cells[fitted].copy(), cells[asked & control].copy()
    started = time.perf_counter()
    options |= {"perturbation_key": "drug", "control": "control"}
    (predicted,) = generated(train, [(query, {})], seed, **options)
    seconds = time.perf_counter() - started
    found = scores(predicted, query.obs["kind"], cells[asked & ~control], query)
    return {"method": "GENOT", "seed": seed, **found, "s": seconds}


def generated(
    train: AnnData,
    questions: list[tuple[AnnData, Row]],
    seed: int,
    *,
    n_samples: int = 32,
    **options,
) -> list[np.ndarray]:
    """Cells that a fit predicts for each query, a copy, and the options of `predict` with it."""
    options |= {"use_rep": "X_pca", "predict": False, "progress": False}
    sg.tl.fit_perturbation(train, rng=seed, **options)
    for query, asked in questions:
        sg.tl.predict(query, model=train, n_samples=n_samples, rng=seed, **asked)
    return [query.obsm["X_genot"] for query, _ in questions]


def ceiling(truth: AnnData, control: AnnData, seed: int) -> Row:
    """Scores of half of the true treated cells against the other half."""
    half = np.random.default_rng(seed).permutation(truth.n_obs) < truth.n_obs // 2
    return scores(
        truth.obsm["X_pca"][half], truth.obs["kind"][half], truth[~half], control, min_cells=3
    )


def in_sample(seeds: list[int]) -> list[Row]:
    """`kang_ifnb`, fitted on all cells and scored on the same."""
    cells = embedded(kang())
    everything = np.ones(cells.n_obs, dtype=bool)
    return [row for seed in seeds for row in compared(cells, everything, everything, seed)]


def in_distribution(seeds: list[int]) -> list[Row]:
    """`kang_ifnb`, fitted on 70 % of the cells, scored on the others."""
    adata, rows = kang(), []
    for seed in seeds:
        training = np.random.default_rng(seed).random(adata.n_obs) < 0.7
        cells = embedded(adata, training)
        rows += compared(cells, training, ~training, seed)
        within = of_genot(cells, training, ~training, seed, covariates=["kind"])
        rows.append({**within, "method": "GENOT, within types"})
    return rows


def donors(seeds: list[int]) -> list[Row]:
    """`kang_ifnb`, each of eight donors held out in turn."""
    return each_donor(kang(), seeds)


def two_donors(seeds: list[int]) -> list[Row]:
    """`kang_ifnb_labelled`, each of two donors held out in turn.

    The two are of the eight people of `kang_ifnb`; 112 of the 1,556 cells are in both sets.
    """
    adata = labelled()
    adata.obs["donor"] = adata.obs["sample_id"].astype(str).str.extract(r"(\d+)", expand=False)
    return each_donor(adata, seeds)


def each_donor(adata: AnnData, seeds: list[int]) -> list[Row]:
    """Hold out each donor; coupled within types and donors, or within types in two ways."""
    variants = {"within types": {}, "within types, closer": CLOSER}
    rows = []
    for seed in seeds:
        for donor in adata.obs["donor"].unique():
            asked = (adata.obs["donor"] == donor).to_numpy()
            cells = embedded(adata, ~asked)
            found = compared(cells, ~asked, asked, seed, covariates=["kind", "donor"])
            for name, options in variants.items():
                row = of_genot(cells, ~asked, asked, seed, covariates=["kind"], **options)
                found.append({**row, "method": f"GENOT, {name}"})
            rows += [{**row, "part": donor} for row in found]
    return rows


def cell_types(seeds: list[int]) -> list[Row]:
    """`kang_ifnb_labelled`, the treated cells of each type held out; coupled within types."""
    return each_type(labelled(), seeds)


def predicted_types(seeds: list[int]) -> list[Row]:
    """`kang_ifnb`, the same of the predicted types with 30 control and 30 treated cells."""
    return each_type(kang(), seeds)


def each_type(adata: AnnData, seeds: list[int]) -> list[Row]:
    """Hold out the treated cells of each type; two couplings, and the flow for all cells."""
    rows, control = [], (adata.obs["drug"] == "control").to_numpy()
    flow = {"learner": sg.model.FlowMatching(extrapolation="flow")}
    sizes = adata.obs.groupby("kind", observed=True)["drug"].value_counts().unstack().min(axis=1)
    for seed in seeds:
        for kind in [kind for kind in adata.obs["kind"].unique() if sizes[kind] >= 30]:
            asked = (adata.obs["kind"] == kind).to_numpy()
            fitted = control | ~asked
            cells = embedded(adata, fitted)
            found = compared(cells, fitted, asked, seed, covariates=["kind"])
            for name, options in {"closer": CLOSER, "no linear extrapolation": flow}.items():
                row = of_genot(cells, fitted, asked, seed, covariates=["kind"], **options)
                found.append({**row, "method": f"GENOT, {name}"})
            rows += [{**row, "part": kind} for row in found]
    return rows


def papalexi(seeds: list[int]) -> list[Row]:
    """`papalexi_crispr`, ten knock-outs: one fit on 60 % of the cells, scored on the others."""
    adata, rows = papalexi_cells(), []
    for seed in seeds:
        train, test = papalexi_split(adata, seed)
        rows += papalexi_simple(train, test, seed) + papalexi_of_genot(train, test, seed)
    return rows


def papalexi_simple(train: AnnData, test: AnnData, seed: int) -> list[Row]:
    """Scores of simple methods and ceilings by knock-out."""
    rows, (fitted, asked) = [], ((c.obs["target"] == CONTROL).to_numpy() for c in (train, test))
    for name in KNOCK_OUTS:
        query, truth = test[asked].copy(), test[test.obs["target"] == name]
        found = predictions(train[fitted], train[train.obs["target"] == name], query, seed)
        for method, values in found.items():
            row = {"method": method, "seed": seed, "part": name}
            rows.append(row | scores(values, query.obs["kind"], truth, query))
        halves = ceiling(truth, query, seed)
        rows.append({"method": "ceiling", "seed": seed, "part": name, **halves})
    return rows


def papalexi_cells() -> AnnData:
    """Cells of ten knock-outs and control cells, log-normalised."""
    adata = load("papalexi_crispr/papalexi")
    sure = (adata.obs["grna_fraction"] > 0.9) & adata.obs["target"].isin([CONTROL, *KNOCK_OUTS])
    names = adata.obs["target"].astype(str)
    return log_normalised(adata[sure].copy(), treated=names[sure] != CONTROL, kind=sure[sure])


def papalexi_split(adata: AnnData, seed: int) -> tuple[AnnData, AnnData]:
    """60 % of the cells to fit and the others, in components of the former."""
    training = np.random.default_rng(seed).random(adata.n_obs) < 0.6
    cells = embedded(adata, training)
    return cells[training].copy(), cells[~training]


def papalexi_of_genot(train: AnnData, test: AnnData, seed: int, **options) -> list[Row]:
    """Fit once, predict every knock-out and score."""
    started = time.perf_counter()
    query = test[(test.obs["target"] == CONTROL).to_numpy()]
    questions = [(query.copy(), {"target": name}) for name in KNOCK_OUTS]
    options |= {"perturbation_key": "target", "control": CONTROL}
    found = generated(train, questions, seed, **options)
    seconds, rows = time.perf_counter() - started, []
    for name, values in zip(KNOCK_OUTS, found, strict=True):
        score = scores(values, query.obs["kind"], test[test.obs["target"] == name], query)
        row = {"method": "GENOT", "seed": seed, "part": name, "s": seconds}
        rows.append(row | score)
    return rows


def screen(seeds: list[int]) -> list[Row]:
    """Simulated screen: four pairs and two drugs held out of 24 pairs and 12 drugs."""
    rows = []
    for seed in seeds:
        drugs = [f"D{i + 1}" for i in range(12)]
        pairs = [f"{a}+{b}" for i, a in enumerate(drugs) for b in drugs[i + 1 :]]
        pairs = list(np.random.default_rng(0).permutation(pairs)[:24])
        adata = sg.datasets.screen(300, drugs=drugs, combinations=pairs, rng=seed)
        names = adata.obs["drug"].astype(str).to_numpy()
        unseen = ["D11", "D12"]
        pairs = [pair for pair in pairs if not set(unseen) & set(pair.split("+"))]
        held_out = {"unseen drug": unseen, "unseen pair": pairs[:4]}
        train = adata[
            [not set(unseen) & set(name.split("+")) and name not in pairs[:4] for name in names]
        ].copy()
        started = time.perf_counter()
        sg.tl.fit_perturbation(
            train, "drug", "control", embedding=adata.uns["embedding"], rng=seed, progress=False
        )
        seconds = time.perf_counter() - started
        for part, conditions in held_out.items():
            for name in conditions:
                rows += [
                    {**row, "part": part}
                    for row in asked_of_screen(adata, train, name, seed, seconds)
                ]
    return rows


def asked_of_screen(
    adata: AnnData, train: AnnData, name: str, seed: int, seconds: float
) -> list[Row]:
    """Energy and per-type energy of an unseen condition, predicted from all control cells."""
    query = adata[adata.obs["drug"] == "control"].copy()
    true = adata[adata.obs["drug"] == name]
    sg.tl.predict(query, name, model=train, rng=seed)
    control, kinds = query.obsm["X_pca"], query.obs["cell_type"].to_numpy()
    names = train.obs["drug"].astype(str).to_numpy()
    singles = {
        n: train.obsm["X_pca"][names == n].mean(0) - control.mean(0)
        for n in set(names)
        if "+" not in n
    }
    tokens, shifts = adata.uns["embedding"], {n: v for n, v in singles.items() if n != "control"}
    linear = np.linalg.lstsq(
        tokens.loc[list(shifts)].to_numpy(), np.stack(list(shifts.values())), rcond=None
    )[0]
    shift = {
        "mean shift of all drugs": train.obsm["X_pca"][names != "control"].mean(0)
        - control.mean(0),
        "mean shift by embedding": sum(
            tokens.loc[part].to_numpy() @ linear for part in name.split("+")
        ),
        "true mean shift": true.obsm["X_pca"].mean(0) - control.mean(0),
    }
    predicted = {"identity": control, **{method: control + by for method, by in shift.items()}}
    predicted["GENOT"] = query.obsm["X_genot"]
    half = np.random.default_rng(seed).permutation(true.n_obs) < true.n_obs // 2
    rows = []
    for method, values in predicted.items():
        rows.append({"method": method, "seed": seed, **screen_scores(values, kinds, true)})
    rows[-1]["s"] = seconds
    ceiling = screen_scores(
        true.obsm["X_pca"][half], true.obs["cell_type"].to_numpy()[half], true[~half]
    )
    return [*rows, {"method": "ceiling", "seed": seed, **ceiling}]


def screen_scores(predicted: np.ndarray, kinds: np.ndarray, true: AnnData) -> Row:
    """Energy distances in latent units."""
    values = np.asarray(true.obsm["X_pca"])
    return {
        "energy": energy(predicted, values),
        "type energy": grouped(energy, predicted, values, kinds, true.obs["cell_type"]),
    }


def size(seeds: list[int]) -> list[Row]:
    """50 drugs and control, 500 cells each, 30 components: one model, every drug predicted."""
    adata = sg.datasets.screen(500, drugs=50, combinations=False, n_genes=2000, rng=seeds[0])
    sg.tl.embed(adata, method="pca", n_components=30)
    solved = []

    def solver(pair):
        begun = time.perf_counter()
        coupling = sg.ot.Sinkhorn(epsilon=0.02)(pair)
        solved.append(time.perf_counter() - begun)
        return coupling

    started = time.perf_counter()
    sg.tl.fit_perturbation(adata, "drug", "control", solver=solver, progress=False)
    fitted = time.perf_counter()
    for name in adata.obs["drug"].unique()[1:]:
        sg.tl.predict(adata, name)
    predicted = time.perf_counter()
    return [
        {
            "method": "GENOT",
            "seed": seeds[0],
            "couplings, s": sum(solved),
            "fit, s": fitted - started,
            "predict, s": predicted - fitted,
            "share of couplings": sum(solved) / (predicted - started),
            "peak, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
    ]


PARTS = {
    "in_sample": in_sample,
    "in_distribution": in_distribution,
    "donors": donors,
    "two_donors": two_donors,
    "cell_types": cell_types,
    "predicted_types": predicted_types,
    "papalexi": papalexi,
    "screen": screen,
    "size": size,
}


def main() -> None:
    """Print one table a part: means, and energies by donor, type, dose or kind of condition."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", help=f"which of {', '.join(PARTS)}; all when none is named"
    )
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--plain", action="store_true", help="scores without adjustment")
    args = parser.parse_args()
    EMBEDDING["adjust"] = not args.plain
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", FutureWarning)
    for name in args.parts or PARTS:
        table = pd.DataFrame(PARTS[name](list(range(args.seeds)))).drop(columns="seed")
        means = table.drop(columns="part", errors="ignore").groupby("method", sort=False).mean()
        print(f"\n## {name}\n{means.to_string(float_format='{:.4f}'.format)}", flush=True)
        if "part" in table:
            energies = table.pivot_table(
                index="method", columns="part", values="energy", sort=False
            )
            over = (
                energies - energies.loc["GENOT"]
            )  # paired: the same cells are hard for every method
            energies["over GENOT"], energies["standard error"] = over.mean(axis=1), over.sem(axis=1)
            print(f"\nenergy\n{energies.to_string(float_format='{:.4f}'.format)}", flush=True)


if __name__ == "__main__":
    main()
