"""Two views of the same real cells, and matches of them by candidates for the defaults."""

from functools import cache

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from translation import add_unit_rows, citeseq_cells

import scgenot as sg
from realdata import load
from scgenot.metrics import foscttm

NAMES = ("snare", "scgem", "cite")
Views = tuple[np.ndarray, np.ndarray]


def hops(n_neighbors: int) -> dict:
    """Options of the search for numbers of edges on a graph of correlations."""
    cost = sg.ot.Geodesic(n_neighbors=n_neighbors, kind="hops", metric="correlation")
    return {"intra_cost": cost, "geometry": "raw"}


CANDIDATES = {
    "default": {},
    "epsilon .005": {"epsilon": 0.005},
    "epsilon .02": {"epsilon": 0.02},
    "centred rows": {"geometry": "centred"},
    "Euclidean distances": {"intra_cost": sg.ot.euclidean},
    **{f"hops, {k} neighbors": hops(k) for k in (15, 30, 50)},
}


@cache
def all_cells(name: str) -> Views:
    """Both views of all cells."""
    if name == "cite":
        cells, protein = citeseq_cells()
        return np.asarray(cells.obsm["X_pca"]), np.asarray(protein.obsm["X_clr"])
    files = {
        "snare": ("snareseq_celllines/atac_topics19", "snareseq_celllines/rna_pca10"),
        "scgem": ("scgem_reprogramming/methylation", "scgem_reprogramming/rna"),
    }
    views = [load(file) for file in files[name]]
    add_unit_rows(*views)
    return tuple(np.asarray(view.obsm["X_l2"]) for view in views)


def views_of(name: str, seed: int) -> Views:
    """Both views, of other 2,000 cells for each seed where there are more."""
    views = all_cells(name)
    rows = np.random.default_rng(seed).permutation(len(views[0]))[:2000]
    return tuple(view[rows] for view in views)


def matched(name: str, seed: int) -> list[dict[str, float | str]]:
    """FOSCTTM and margin of the match of each candidate, and of a regression on true pairs."""
    source, target = views_of(name, seed)
    order = np.random.default_rng(seed).permutation(len(target))
    pair, found = sg.Pair(source, target[order]), []
    for method, options in CANDIDATES.items():
        coupling = sg.ot.GromovWasserstein(rng=seed, **options)(pair)
        score = foscttm(coupling.barycenter().cpu().numpy(), target)
        margin = coupling.confidence.margin
        found.append({"method": method, "FOSCTTM": score, "margin": margin})
    folds, penalties = KFold(5, shuffle=True, random_state=seed), np.logspace(-2, 4, 13)
    supervised = cross_val_predict(RidgeCV(penalties), source, target, cv=folds)
    return [*found, {"method": "ridge, supervised", "FOSCTTM": foscttm(supervised, target)}]
