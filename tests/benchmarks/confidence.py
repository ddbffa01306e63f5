"""The verdict on a match, right or wrong: `python tests/benchmarks/confidence.py simulated sets`.

*Simulated*: cells of one latent space in two views, each turned into a space of its own, the second
one distorted more and more: clusters with centres that move, branches that become longer or shorter
and turn, lopsided clouds with noise. Equal clusters have no right match, and neither have views of
different latent spaces. *Sets*: real pairs, with ten seeds of the search; the pairs of cite are a
new subset of 2,000 cells for each seed. *Missing*: ATAC of some cells of four lines and RNA of
others, without one of the lines, which has to be matched with another one.

A match is wrong if its FOSCTTM is above .3, chance is .5; with a missing line, if less than three
quarters of the mass of the other lines, in the mean over lines, come to their own."""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import matches
from translation import add_unit_rows

import scgenot as sg
from realdata import load
from scgenot.metrics import foscttm

N_CELLS, WRONG, RIGHT = 500, 0.3, 0.75
Views = tuple[np.ndarray, np.ndarray]


def view(z: np.ndarray, dim: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Latent cells turned into another space, with noise in all its columns."""
    axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0][: z.shape[1]]
    return z @ axes + noise * rng.normal(size=(len(z), dim))


def clusters(distortion: float, rng: np.random.Generator) -> Views:
    """Six clusters in six dimensions; in the second view their centres and axes are moved."""
    centres, within = 2 * rng.normal(size=(6, 6)), 0.4 * rng.normal(size=(N_CELLS, 6))
    of = rng.choice(6, N_CELLS, p=rng.dirichlet(np.full(6, 3.0)))
    moved = centres + 2 * distortion * rng.normal(size=(6, 6))
    turned = within @ (np.eye(6) + 0.3 * distortion * rng.normal(size=(6, 6)))
    return view(centres[of] + within, 15, 0.15, rng), view(moved[of] + turned, 10, 0.15, rng)


def branches(distortion: float, rng: np.random.Generator) -> Views:
    """Four branches from one root; in the second view they are turned, of other lengths."""
    ways = rng.normal(size=(4, 6))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    lengths = rng.uniform(1, 5, 4)
    of = rng.choice(4, N_CELLS, p=rng.dirichlet(np.full(4, 3.0)))
    along = rng.beta(1.2, 1, N_CELLS)
    others = lengths * np.exp(distortion * rng.normal(size=4))
    turned = ways + 0.5 * distortion * rng.normal(size=(4, 6))
    first = ways[of] * (lengths[of] * along)[:, None]
    second = turned[of] * (others[of] * along ** np.exp(0.3 * distortion))[:, None]
    return view(first, 15, 0.2, rng), view(second, 10, 0.2, rng)


def lopsided(noise: float, rng: np.random.Generator) -> Views:
    """A cloud with a different long tail along each of three axes, and noise in both views."""
    z = rng.gamma([1, 2, 4], 1, size=(N_CELLS, 3)) * [3, 2, 1]
    return view(z, 5, noise, rng), view(z, 6, noise, rng)


def equal_clusters(number: float, rng: np.random.Generator) -> Views:
    """Clusters of one size at equal distances: any of them could be any other."""
    number = int(number)
    centres = 4 * np.eye(number)[np.arange(N_CELLS) % number]
    both = (centres + 0.4 * rng.normal(size=centres.shape) for _ in range(2))
    return tuple(view(z, 10, 0.1, rng) for z in both)


def unrelated(branched: float, rng: np.random.Generator) -> Views:
    """Two spaces that have nothing in common."""
    second = branches if branched else clusters
    return clusters(0, rng)[0], second(0, rng)[1]


FAMILIES: dict[Callable, tuple[float, ...]] = {
    clusters: (0, 0.2, 0.4, 0.6, 0.8, 1.2, 2),
    branches: (0, 0.1, 0.2, 0.4, 0.8, 1.2),
    lopsided: (0.1, 0.5, 1),
    equal_clusters: (3, 4, 5),
    unrelated: (0, 1),
}


def judged(views: Views, seed: int, name: str) -> dict[str, object]:
    """Match cells in another order, and score the match and what the search says of it."""
    order = np.random.default_rng(seed).permutation(len(views[1]))
    coupling = sg.ot.GromovWasserstein(rng=seed)(sg.Pair(views[0], views[1][order]))
    # the geometry in which cells are compared: rows of unit length
    true = views[1] - views[1].mean(0)
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    found = coupling.confidence.to_dict()
    mean = coupling.rows().double().numpy() @ true[order]
    return {"name": name, "seed": seed, "FOSCTTM": foscttm(mean, true), **found}


def simulated(seeds: int) -> Iterator[dict[str, object]]:
    """All families."""
    for seed in range(seeds):
        for family, levels in FAMILIES.items():
            for level in levels:
                rng = np.random.default_rng([seed, int(100 * level), len(family.__name__)])
                yield judged(family(level, rng), seed, f"{family.__name__} {level:g}")


def sets(seeds: int) -> Iterator[dict[str, object]]:
    """Real pairs."""
    for name in matches.NAMES:
        for seed in range(seeds):
            yield judged(matches.views_of(name, seed), seed, name)


def missing(seeds: int) -> Iterator[dict[str, object]]:
    """SNARE-seq, one line left out of the RNA cells; the two sides have no cells in common."""
    atac, rna = load("snareseq_celllines/atac_topics19"), load("snareseq_celllines/rna_pca10")
    add_unit_rows(atac, rna)
    lines = rna.obs["cell_type"].to_numpy()
    for seed in range(seeds):
        source, target = np.array_split(np.random.default_rng(seed).permutation(len(lines)), 2)
        for gone in np.unique(lines):
            kept = target[lines[target] != gone]
            pair = sg.Pair(atac.obsm["X_l2"][source], rna.obsm["X_l2"][kept])
            coupling = sg.ot.GromovWasserstein(rng=seed)(pair)
            rows = coupling.rows().double().numpy()
            own = [
                rows[lines[source] == line][:, lines[kept] == line].sum(1).mean()
                for line in np.unique(lines[kept])
            ]
            found = coupling.confidence.to_dict()
            yield {"name": f"without {gone}", "seed": seed, "own line": np.mean(own), **found}


def main() -> None:
    """Print every verdict, sorted by the margin, and how often each is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tables = {"simulated": (simulated, 4), "sets": (sets, 10), "missing": (missing, 4)}
    parser.add_argument("tables", nargs="*", help=f"which of {', '.join(tables)}; all when none")
    parser.add_argument("--seeds", type=int, help="number of seeds")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    for name in args.tables or tables:
        rows, seeds = tables[name]
        table = pd.DataFrame(rows(args.seeds or seeds)).sort_values("margin")
        missed = name == "missing"
        table["wrong"] = table["own line"] < RIGHT if missed else table["FOSCTTM"] > WRONG
        print(f"\n## {name}\n{table.to_string(index=False, float_format='{:.3f}'.format)}")
        if name == "sets":
            found = table.groupby("name")[["FOSCTTM", "margin", "ambiguous"]]
            print(f"\n{found.agg(['mean', 'min', 'max']).to_string(float_format='{:.3f}'.format)}")
        else:
            print(f"\n{pd.crosstab(table['wrong'], table['ambiguous'])}", flush=True)


if __name__ == "__main__":
    main()
