"""Populations as objects: `python tests/benchmarks/populations.py [part ...] --seeds 3`.

`distances` times 200 populations of 500 cells in 30 dimensions; `cohort` predicts an outcome of
simulated patients; `generated` evaluates populations of the right law, copies and trivial ones; and
`kang`, `papalexi` and `larry` look at donors, knock-outs and clones.
"""

import argparse
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1]))

import realdata
import scgenot as sg
from scgenot.population import bures

KINDS = ("bures", "sinkhorn", "energy")
PATHWAY = ("IFNGR1", "IFNGR2", "JAK2", "STAT1")


def geometry(seeds: list[int]) -> pd.DataFrame:
    """Errors of the Bures geometry in 30 dimensions, in double precision."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        root = torch.randn(2, 50, 30, 60, generator=generator, dtype=torch.float64)
        mean = torch.randn(2, 50, 30, generator=generator, dtype=torch.float64)
        x, y = (bures.Gaussians(m, r @ r.mT / 60) for m, r in zip(mean, root, strict=True))
        whole, at = bures.distance(x, y), bures.geodesic(x, y, 0.3)
        end = bures.geodesic(x, y, 1.0)
        speed = bures.squared_speed(at, bures.velocity(x, y, 0.3)).sqrt()
        rows.append(
            {
                "endpoint": float((end.covariance - y.covariance).abs().max()),
                "distance to t": float((bures.distance(x, at) - 0.3 * whole).abs().max()),
                "speed": float((speed - whole).abs().max()),
            }
        )
    return pd.DataFrame(rows)


def distances(_seeds: list[int]) -> pd.DataFrame:
    """Seconds and memory of all pairs of 200 populations."""
    rng = np.random.default_rng(0)
    scale = np.sqrt(10 * 0.85 ** np.arange(30))
    spread, place = rng.uniform(0.7, 1.3, (200, 1, 30)), 0.5 * rng.normal(size=(200, 1, 30))
    cells = ((rng.normal(size=(200, 500, 30)) * spread + place) * scale).reshape(-1, 30)
    obs = pd.DataFrame({"sample": np.repeat([f"s{k}" for k in range(200)], 500)})
    obs.index = [f"c{k}" for k in range(len(obs))]
    adata = AnnData(cells.astype(np.float32), obs=obs)
    rows = []
    for kind in KINDS:
        wall, cpu = time.perf_counter(), time.process_time()
        sg.tl.population_distances(adata, "sample", use_rep="X", kind=kind, progress=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows.append({"kind": kind, "CPU s": cpu, "wall s": wall, "peak GiB": memory})
    return pd.DataFrame(rows)


def cohort(seeds: list[int]) -> pd.DataFrame:
    """AUC of the outcome of simulated patients, and how far it is from that of their risk."""
    rows = []
    for n in (60, 300):
        for seed in seeds:
            adata = sg.datasets.cohort(n, rng=seed)
            options = {"label_key": "cell_type", "rng": seed, "progress": False}
            table = sg.tl.score_populations(adata, "patient", "outcome", **options)
            patients = adata.obs.groupby("patient", observed=True)[["outcome", "risk"]].first()
            oracle = roc_auc_score(patients["outcome"], patients["risk"])
            rows.append({"patients": n, "oracle": oracle, **(oracle - table["auc"])})
            print(n, seed, table.attrs["verdict"], flush=True)
    return pd.DataFrame(rows).groupby("patients").agg(["mean", "std"])


def generated(seeds: list[int]) -> pd.DataFrame:
    """Gaussian patients of the right law beside trivial ones: 200 to train, 100 to test."""
    tables = []
    for seed in seeds:
        train, measured, other = (
            sg.datasets.cohort(n, n_types=1, rng=3 * seed + k)
            for k, n in enumerate((200, 100, 100))
        )
        options = {"train": train, "rng": seed, "progress": False}
        tables.append(sg.tl.evaluate_populations(measured, other, "patient", **options))
        print(tables[-1].attrs["verdict"], flush=True)
    numbers = pd.concat(tables).drop(columns=["kind", "n_populations"])
    return numbers.groupby(level=0, sort=False).agg(["mean", "std"])


def kang(_seeds: list[int]) -> pd.DataFrame:
    """Eight donors, control and stimulated: whose sample is next to whose?"""
    adata = realdata.load("kang_ifnb/kang_ifnb")
    adata = adata[~adata.obs["donor"].isin(["unmatched", "doublet/amb"])].copy()
    sample = adata.obs["donor"].astype(str) + " " + adata.obs["condition"].astype(str)
    adata.obs["sample"] = sample
    represent(adata)
    rows = []
    for kind, table in tables(adata, "sample"):
        donor, condition = np.array([name.split() for name in table.index]).T
        across = table.mask(condition[:, None] == condition, np.inf).to_numpy()
        rows.append(
            {
                "kind": kind,
                "nearest has the condition": agreement(table, condition),
                "nearest of the other condition is the donor's": np.mean(
                    donor[across.argmin(1)] == donor
                ),
            }
        )
    return pd.DataFrame(rows)


def papalexi(_seeds: list[int]) -> pd.DataFrame:
    """Guides as populations: are those of the interferon gamma pathway next to each other?"""
    adata = realdata.load("papalexi_crispr/papalexi")
    represent(adata)
    guide = adata.obs["grna"].astype(str)
    enough = guide.map(guide[adata.obs["grna_fraction"] > 0.5].value_counts()) >= 60
    adata = adata[(adata.obs["grna_fraction"] > 0.5) & enough].copy()
    target = adata.obs.groupby("grna", observed=True)["target"].first().astype(str)
    rows = []
    for kind, table in tables(adata, "grna"):
        own = target[table.index].to_numpy()
        pathway, control = np.isin(own, PATHWAY), own == "non-targeting"
        others = ~pathway & ~control
        row = {"kind": kind, "guides": len(own), "base rate": pathway.mean()}
        row["nearest of the pathway is of the pathway"] = agreement(table, pathway, pathway)
        for name, side in (("controls", control), ("pathway", pathway), ("others", others)):
            found = table.to_numpy()[np.ix_(side, control)]
            row[f"{name} from controls"] = np.median(found[found > 0])
        rows.append(row)
    return pd.DataFrame(rows)


def larry(_seeds: list[int]) -> pd.DataFrame:
    """Clones of at least six cells: is the nearest one of the same fate?"""
    adata = realdata.load("larry_clones/larry")
    clones = adata.obsm["X_clone"].tocsc()
    large = np.flatnonzero(np.asarray(clones.sum(0)).ravel() >= 6)
    member = clones[:, large].toarray() > 0
    adata.obs["clone"] = pd.array(
        [str(large[own.argmax()]) if own.any() else None for own in member], dtype="string"
    ).astype(object)
    adata = adata[member.any(1)].copy()
    fate = adata.obs.groupby("clone")["state_info"].agg(lambda found: found.mode()[0]).astype(str)
    rows = []
    for kind, table in tables(adata, "clone"):
        own = fate[table.index].to_numpy()
        shares = pd.Series(own).value_counts(normalize=True)
        row = {"kind": kind, "clones": len(own), "by chance": (shares**2).sum()}
        rows.append({**row, "nearest has the fate": agreement(table, own)})
    return pd.DataFrame(rows)


def represent(adata: AnnData) -> None:
    """Principal components of log-normalised counts."""
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    if adata.n_vars > 1500:
        sc.pp.highly_variable_genes(adata, n_top_genes=1500)
    sg.tl.embed(adata, n_components=30)


def tables(adata: AnnData, key: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield distances of each kind."""
    for kind in KINDS:
        yield kind, sg.tl.population_distances(adata, key, kind=kind, progress=False)


def agreement(table: pd.DataFrame, labels: np.ndarray, among: np.ndarray | None = None) -> float:
    """How often the nearest population has the same label, among some of them."""
    nearest = (table.to_numpy() + np.diag(np.full(len(table), np.inf))).argmin(1)
    same = labels[nearest] == labels
    return float(same.mean() if among is None else same[among].mean())


def main() -> None:
    """Run the parts that were asked for."""
    every = (geometry, distances, cohort, generated, kang, papalexi, larry)
    parts = {part.__name__: part for part in every}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *parts])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*populations")
    for name in asked.parts or parts:
        print(f"\n{name}")
        print(parts[name](list(range(asked.seeds))).to_string(float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
