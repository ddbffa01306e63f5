"""Small fitted cells of each task, made once, and the tables that verbs make of them."""

import atexit
import shutil
import tempfile
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import scgenot as sg

QUICK = sg.model.FlowMatching(steps=6, width=8, depth=1, validation_every=3, batch_size=16)
FIT = {"learner": QUICK, "progress": False, "rng": 0, "device": "cpu"}


def cells(n: int, seed: int) -> AnnData:
    """Counts, an embedding that can be inverted, and columns of several kinds."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(2.0, (n, 8)).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts))
    adata.var_names = ["Mki67", "Top2a", "Bax", "Casp3", "G5", "G6", "G7", "G8"]
    adata.obs_names = [f"c{seed}_{i}" for i in range(n)]
    adata.layers["log"] = np.log1p(counts)
    adata.obs["type"] = pd.Categorical(np.array(["T", "B", "NK"])[np.arange(n) % 3])
    adata.obs["batch"] = np.array(["one", "two"])[np.arange(n) % 2]
    adata.obs["rate"] = rng.normal(size=n)
    adata.obs["weight"] = rng.uniform(0.5, 1.5, n)
    adata.obs["hole"] = np.where(np.arange(n) % 5, adata.obs["rate"], np.nan)
    adata.obsm["X_umap"] = rng.normal(size=(n, 2))
    adata.obsm["X_shared"] = rng.normal(size=(n, 2))
    sg.tl.embed(adata, method="pca", layer="log", mask_var=None, n_components=3, key_added="pca")
    return adata


@cache
def screen() -> AnnData:
    adata = cells(72, 1)
    adata.obs["drug"] = np.repeat(["control", "A", "B"], 24)
    adata.obs["dose"] = np.where(adata.obs["drug"] == "control", 0.0, np.tile([1.0, 10.0], 36))
    sg.tl.fit_perturbation(adata, "drug", "control", dose_key="dose", use_rep="X_pca", **FIT)
    sg.tl.predict(adata, "A", n_samples=4, progress=False, device="cpu")
    held = np.arange(72) % 4 < 2
    sg.tl.calibrate(adata, held_out=held, levels=(0.5,), device="cpu")
    return adata


@cache
def scored() -> AnnData:
    return sg.tl.score_cells(screen(), device="cpu", copy=True)


@cache
def course() -> AnnData:
    adata = cells(60, 2)
    adata.obs["day"] = np.repeat([0.0, 1.0, 2.0], 20)
    sg.tl.fit_trajectory(adata, "day", use_rep="X_pca", **FIT)
    adata.obs["genot_growth"] = np.where(adata.obs["day"] < 2, 1.5, np.nan)
    sg.tl.coupling(adata, device="cpu")
    sg.tl.fate(adata, "type", device="cpu")
    sg.tl.velocity(adata, basis="umap", device="cpu")
    return adata


@cache
def cohort() -> AnnData:
    adata = cells(72, 3)
    patient = np.arange(72) // 6
    adata.obs["patient"] = [f"p{k}" for k in patient]
    adata.obs["sick"] = np.array(["yes", "no"])[patient % 2]
    adata.obs["rate"] = (patient * 7 % 12).astype(float)
    sg.tl.population_distances(adata, "patient", progress=False, device="cpu")
    return adata


@cache
def other_cohort() -> AnnData:
    adata = cohort().copy()
    adata.obsm["X_pca"] = adata.obsm["X_pca"] + 1
    return adata


@cache
def populations() -> AnnData:
    adata = cohort().copy()
    sg.tl.fit_populations(adata, "patient", condition=["sick", "rate"], progress=False)
    return adata


@cache
def chosen() -> AnnData:
    adata = cells(72, 1)
    adata.obs["drug"] = np.repeat(["control", "A", "B"], 24)
    learners = [QUICK, replace(QUICK, width=4)]
    options = {**FIT, "learner": learners, "predict": False, "use_rep": "X_pca"}
    sg.tl.fit_perturbation(adata, "drug", "control", **options)
    return adata


@cache
def other() -> AnnData:
    return cells(36, 4)


@cache
def source() -> AnnData:
    adata, solver = cells(30, 3), sg.ot.GromovWasserstein(n_starts=2, max_outer=4)
    sg.tl.fit_translation(adata, other().copy(), use_rep="X_pca", solver=solver, **FIT)
    sg.tl.coupling(adata, device="cpu")
    return adata


@cache
def tables() -> dict[str, pd.DataFrame]:
    adata = screen()
    return {
        "evaluated": sg.tl.evaluate(
            adata, adata.copy(), in_sample=True, n_resamples=3, min_cells=10, device="cpu"
        ),
        "response": sg.tl.response(adata, "A", dose=1.0, n_samples=2, device="cpu"),
        "transition": sg.tl.cell_transition(course(), "type", "type", device="cpu"),
        "coverage": sg.tl.coverage(adata, held_out=np.arange(72) % 4 >= 2, device="cpu"),
    }


@cache
def simulated() -> AnnData:
    return sg.tl.simulate(screen(), ["A"], dose=[1.0, 10.0], progress=False, device="cpu")


@cache
def model() -> sg.Genot:
    return sg.get.model(source())


@cache
def folder() -> Path:
    """A folder that goes at the end."""
    path = Path(tempfile.mkdtemp(prefix="scgenot_fuzz_"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def model_file() -> Path:
    """The model of a translation in a file."""
    path = folder() / "model.safetensors"
    model().save(path)
    return path


@cache
def state_file() -> Path:
    """A training state in a file."""
    from scgenot.model import train

    rng = np.random.default_rng(7)
    pair = sg.Pair(rng.normal(size=(20, 3)), rng.normal(size=(20, 3)))
    learner = sg.model.FlowMatching(steps=4, width=8, depth=1, validation_every=2)
    fresh, plan = sg.Genot(3, 3, width=8, depth=1), sg.ot.Sinkhorn(device="cpu")(pair)
    path = folder() / "state.safetensors"
    train(fresh, [pair], [plan], learner, progress=False).save(path)
    return path


def quietly(make, *args, **options):
    """Call without the warnings that so few cells and steps lead to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*args, **options)
