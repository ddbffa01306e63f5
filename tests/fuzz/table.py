"""Every public function that is tried: a call that is right, and other right values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature

import numpy as np

import scgenot as sg
from fuzz import worlds as w


@dataclass
class Entry:
    """A function, the arguments of a right call (made anew for each), and other right values."""

    name: str
    call: Callable
    make: Callable[[], dict]
    others: dict[str, list] = field(default_factory=dict)
    slow: dict[str, tuple[str, ...]] = field(default_factory=dict)  # kinds that take too long

    @property
    def arguments(self) -> list[str]:
        """Names of all arguments."""
        return [name for name in signature(self.call).parameters if name != "self"]


RNG = np.random.default_rng(5)
A, B, C = (RNG.normal(size=(n, 3)) for n in (24, 20, 16))
COURSE = {"start": [0, 1.0, "0"], "end": [1, 2.0, None], "method": ["coupling", "model"]}
TREATED = {"target": ["A", "B"], "dose": [1.0, 10.0, None], "guidance": [1.0, 2, 0.0]}
OF_POPULATIONS = {
    "distances": np.abs(np.subtract.outer(np.arange(6.0), np.arange(6))),
    "is_generated": np.arange(6) > 2,
}
POPULATION = {"kind": ["sinkhorn", "energy"], "use_rep": ["X"], "key_added": ["other"]}
LONG = ("huge", "overflow")
DISTILL = {"steps": 30, "training_steps": 2, "n_pairs": 64}


def metric(name: str, **more) -> Entry:
    """An entry of `sg.metrics`."""
    given = {"predicted": A, "true": B, **more}
    return Entry(f"metrics.{name}", getattr(sg.metrics, name), lambda: dict(given))


def baseline(name: str, **given) -> Entry:
    """An entry of `sg.baselines`."""
    return Entry(f"baselines.{name}", getattr(sg.baselines, name), lambda: dict(given))


def verb(name: str, world: Callable, others: dict | None = None, **given) -> Entry:
    """An entry of `sg.tl`."""
    function = getattr(sg.tl, name)
    slow = {"learner": ("None",)}  # thousands of steps
    slow |= dict.fromkeys(("steps", "training_steps"), LONG)
    quiet = {"progress": False, "device": "cpu", "n_samples": 2}
    quiet = {key: value for key, value in quiet.items() if key in signature(function).parameters}
    return Entry(
        f"tl.{name}",
        function,
        lambda: {"adata": world().copy(), **quiet, **given},
        {"copy": [True], "rng": [1, None, np.random.default_rng(0)], **(others or {})},
        slow,
    )


def plot(name: str, others: dict | None = None, **made: Callable) -> Entry:
    """An entry of `sg.pl`; arguments are made by functions."""
    make = lambda: {"show": False, **{key: value() for key, value in made.items()}}  # noqa: E731
    return Entry(f"pl.{name}", getattr(sg.pl, name), make, others or {})


def solved(kind: type) -> Callable:
    """Make a solver and solve a pair with it."""

    def solve(**options):
        return kind(**options)(sg.Pair(A, B, source_shared=A, target_shared=B))

    solve.__signature__ = signature(kind)
    return solve


def solver(kind: type, **given) -> Entry:
    """An entry of `sg.ot`."""
    return Entry(f"ot.{kind.__name__}", solved(kind), lambda: dict(given), slow={
        "max_iterations": LONG, "max_outer": LONG, "n_starts": LONG, "search_cells": LONG,
    })  # fmt: skip


def trained(**options):
    """Learn a small coupled pair."""
    learner = sg.model.FlowMatching(**options)
    pair = sg.Pair(A, B)
    link = sg.Link(pair, np.arange(24), np.arange(20), plan=sg.ot.Sinkhorn(device="cpu")(pair))
    return learner([link], sg.model.Run(progress=False))


trained.__signature__ = signature(sg.model.FlowMatching)
FITTED = {
    "solver": [sg.ot.Sinkhorn(epsilon=0.1), ["auto"], "auto"],
    "learner": [[w.QUICK, None], [w.QUICK, w.QUICK]],
    "hold_out": ["type", "batch", "day"],
    "predict": [True, False, None],
}


def asked(name: str, **given) -> Entry:
    """A method of the model."""
    method = getattr(sg.Genot, name)
    entry = Entry(f"model.{name}", method, lambda: {"self": w.model(), **given})
    entry.slow = {"batch_size": LONG}
    return entry


def entries() -> list[Entry]:
    """All of them."""
    held = np.arange(72) % 4 >= 2
    return [
        *of_arrays(),
        Entry("get.choice", sg.get.choice, lambda: {"adata": w.chosen().copy()}),
        Entry("get.couplings", sg.get.couplings, lambda: {"adata": w.course().copy()}),
        Entry("get.fit", sg.get.fit, lambda: {"adata": w.course().copy()}),
        Entry("get.model", sg.get.model, lambda: {"adata": w.course().copy()}),
        Entry("get.params", sg.get.params, lambda: {"adata": w.course().copy()}),
        Entry("get.task", sg.get.task, lambda: {"adata": w.course().copy()}),
        verb("annotate", w.course, COURSE, column="type"),
        verb("cell_transition", w.course, COURSE, source_groups="type", target_groups="type"),
        verb("coupling", w.course, {"top_k": [1, 50]}),
        verb("fate", w.course, {"of": ["lineage"], "end": [1]}, groupby="type"),
        verb("interpolate", w.course, {"time": [1.5, 1], "n_cells": [5]}, time=0.5),
        verb("pull", w.course, COURSE, cells="T", groupby="type"),
        verb("push", w.course, COURSE, cells="T", groupby="type"),
        verb("population_distances", w.course, POPULATION, population_key="type", device="cpu"),
        verb(
            "embed_populations",
            w.course,
            {"kind": ["transport"], "n_components": [2]},
            population_key="type",
            device="cpu",
            n_reference=6,
        ),
        verb(
            "score_populations",
            w.cohort,
            {"outcome": ["rate"], "label_key": ["type"]},
            population_key="patient",
            outcome="sick",
            n_prototypes=3,
            n_folds=2,
            device="cpu",
        ),
        verb(
            "fit_populations",
            w.cohort,
            {"condition": ["rate", ["sick", "rate"]], "paired_with": [{"type": "T"}]},
            population_key="patient",
            device="cpu",
        ),
        verb(
            "simulate_populations",
            w.populations,
            {"condition": [[{"sick": "no", "rate": 1}]], "n_populations": [2]},
            condition={"sick": "yes", "rate": 2.5},
            n_cells=3,
            device="cpu",
        ),
        verb(
            "neighborhoods",
            w.cohort,
            {"n_centers": [5], "library_key": ["type"]},
            spatial_key="X_pca",
            n_neighbors=3,
        ),
        Entry(
            "tl.evaluate_populations",
            sg.tl.evaluate_populations,
            lambda: {
                "measured": w.cohort().copy(),
                "generated": w.cohort().copy(),
                "train": w.other_cohort().copy(),
                "population_key": "patient",
                "progress": False,
                "device": "cpu",
            },
            {"kind": ["sinkhorn", "energy"], "label_key": ["type"]},
        ),
        verb("velocity", w.course, {"basis": ["umap"], "method": ["coupling"]}),
        verb("calibrate", w.screen, TREATED, held_out=~held, levels=(0.5,)),
        verb("coverage", w.screen, TREATED, held_out=held),
        verb("response", w.screen, {**TREATED, "groupby": ["type", ["type", "batch"]]}, target="A"),
        verb("predict", w.screen, TREATED, target="A"),
        verb("distill", w.course, training_steps=2, steps=30),
        verb("simulate", w.screen, {**TREATED, "target": [["A", "B"]]}, target="A"),
        verb("counterfactual", w.screen, {"dose": [1.0]}, target="A"),
        verb("score_cells", w.screen, {"held_out": [None]}),
        verb("embed", w.other, {"method": ["lsi", "clr"], "layer": ["log"], "scale": [True]}),
        verb("project", w.other, reference=w.course().copy(), layer="log"),
        verb("score_growth", w.other, {"organism": ["mouse"]}, organism="mouse"),
        Entry("tl.decode", sg.tl.decode, lambda: {"values": A, "adata": w.course().copy()}),
        Entry(
            "tl.transfer",
            sg.tl.transfer,
            lambda: {
                "query": w.course().copy(),
                "reference": w.course().copy(),
                "column": "type",
                "device": "cpu",
            },
            {"solver": [sg.ot.Sinkhorn(keep=0.5), sg.ot.SparseOT()], "copy": [True]},
        ),
        Entry(
            "tl.evaluate",
            sg.tl.evaluate,
            lambda: {
                "fitted": w.screen().copy(),
                "held_out": w.screen()[held].copy(),
                "in_sample": True,
                "n_resamples": 2,
                "min_cells": 10,
                "device": "cpu",
            },
            {"groupby": ["type"], "metrics": [["mmd"]]},
        ),
        verb("fit", w.course, FITTED, task=sg.tasks.TimeCourse("day", use_rep="X_pca"), **w.FIT),
        verb(
            "fit_perturbation",
            w.screen,
            FITTED,
            perturbation_key="drug",
            control="control",
            use_rep="X_pca",
            **w.FIT,
        ),
        verb("fit_trajectory", w.course, FITTED, time_key="day", use_rep="X_pca", **w.FIT),
        Entry(
            "tl.fit_translation",
            sg.tl.fit_translation,
            lambda: {
                "adata_source": w.source().copy(),
                "adata_target": w.other().copy(),
                **w.FIT,
                "use_rep": "X_pca",
                "solver": sg.ot.GromovWasserstein(n_starts=1, max_outer=2),
            },
            {"shared_rep": ["X_shared"], "source_weights": ["weight"]},
            {"learner": ("None",)},
        ),
        *plots(),
    ]


def of_arrays() -> list[Entry]:
    """Functions of arrays: metrics, baselines, solvers, learners."""
    labels = np.array(["x", "y"])
    return [
        metric("change_correlation", control=C),
        metric("energy_distance"),
        metric("foscttm", true=A),
        metric(
            "grouped",
            metric=sg.metrics.mmd,
            min_cells=2,
            predicted_groups=labels[np.arange(24) % 2],
            true_groups=labels[np.arange(20) % 2],
        ),
        Entry(
            "metrics.label_transfer",
            sg.metrics.label_transfer,
            lambda: {
                "predicted": A,
                "reference": B,
                "labels": labels[np.arange(24) % 2],
                "reference_labels": labels[np.arange(20) % 2],
            },
        ),
        metric("mmd"),
        *(
            Entry(f"metrics.{name}", getattr(sg.metrics, name), lambda: dict(OF_POPULATIONS))
            for name in ("nearest_neighbor_accuracy", "population_mmd", "population_coverage")
        ),
        Entry(
            "metrics.composition_error",
            sg.metrics.composition_error,
            lambda: {"predicted": ["T", "B"], "true": ["T", "T"]},
        ),
        Entry("metrics.monge_gap", sg.metrics.monge_gap, lambda: {"source": A, "mapped": A + 1}),
        metric("perturbation_discrimination", rows=np.arange(20)[np.arange(24) % 20]),
        metric("squared_error_means"),
        metric("r2_means"),
        metric("r2_variances"),
        metric("sinkhorn_divergence"),
        metric("wasserstein"),
        baseline("gaussian_map", source=A, target=B, query=C),
        baseline("halves", cells=A),
        baseline("identity", query=A),
        baseline("interpolated_shift", source=A, low=B, high=C, fraction=0.5, query=A),
        baseline("mean_shift", source=A, target=B, query=C),
        baseline("mixture", source=A, target=B, s=0.5, n=9),
        baseline("plan_nearest", source=A, target=B, query=C),
        baseline("plan_pairs", source=A, target=B, n=9),
        baseline("random_pairs", n_source=5, n_target=6, n=9),
        baseline("random_targets", target=A, n=9),
        baseline("straight", source=A, target=A + 1, s=0.5),
        solver(sg.ot.Sinkhorn, device="cpu"),
        solver(sg.ot.SparseOT, device="cpu"),
        solver(sg.ot.Neighbors, device="cpu"),
        solver(sg.ot.GromovWasserstein, device="cpu", n_starts=2, max_outer=3),
        solver(sg.ot.FusedGromovWasserstein, device="cpu", max_outer=3),
        solver(sg.ot.Minibatch, solver=sg.ot.Sinkhorn(device="cpu"), batch_size=16),
        Entry("Pair", sg.Pair, lambda: {"source": A, "target": B}),
        Entry("ot.sinkhorn_divergence", divergence, lambda: {"x": A, "y": B}),
        Entry(
            "model.FlowMatching",
            trained,
            lambda: {"steps": 4, "width": 8, "depth": 1},
            slow=dict.fromkeys(("steps", "width", "depth", "batch_size"), (*LONG, "1e300")),
        ),
        Entry("Genot", sg.Genot, lambda: {"source_dim": 3, "target_dim": 3, "width": 8}),
        asked("sample", source=A),
        asked("mean", source=A, n_samples=2),
        asked("support", source=A),
        asked("log_prob", source=A, target=B[np.arange(24) % 20], integrator=sg.flow.ODE(steps=2)),
        asked("encode", source=A, target=B[np.arange(24) % 20], integrator=sg.flow.ODE(steps=2)),
        asked("decode", source=A, code=A, integrator=sg.flow.ODE(steps=2)),
        Entry(
            "model.distill",
            sg.model.distill,
            lambda: {"model": w.model(), "source": A, "progress": False, **DISTILL},
            slow=dict.fromkeys(DISTILL, LONG),
        ),
        Entry("Genot.load", sg.Genot.load, lambda: {"path": w.model_file()}),
        Entry("model.Checkpoint", sg.model.Checkpoint, lambda: {"path": w.state_file()}),
        Entry("TrainState.load", sg.model.TrainState.load, lambda: {"path": w.state_file()}),
    ]


def divergence(x, y, **options):
    """The divergence of arrays: it takes tensors."""
    import torch

    x, y = (
        torch.as_tensor(z) if isinstance(z, np.ndarray) and z.dtype.kind in "biuf" else z
        for z in (x, y)
    )
    return sg.ot.sinkhorn_divergence(x, y, **options)


divergence.__signature__ = signature(sg.ot.sinkhorn_divergence)


def plots() -> list[Entry]:
    """All of `sg.pl`."""
    screen, course, source, other = (
        lambda world=world: world().copy() for world in (w.screen, w.course, w.source, w.other)
    )
    table = {name: lambda name=name: w.tables()[name].copy() for name in w.tables()}
    simulated = lambda: w.simulated().copy()  # noqa: E731
    of = lambda value: lambda: value  # noqa: E731
    return [
        plot("calibration", {"table": [w.screen()]}, table=table["coverage"]),
        plot("choice", adata=lambda: w.chosen().copy()),
        plot("coupling", {"normalize": ["target", None]}, adata=course, groupby=of("type")),
        plot("dose_response", adata=screen, simulated=simulated, features=of(["G5"])),
        plot("evaluation", table=table["evaluated"]),
        plot("fate", {"groupby": ["type"]}, adata=course),
        plot("population_distances", {"color": ["patient"]}, adata=lambda: w.cohort().copy()),
        plot(
            "populations",
            {"kind": ["cells"], "color": ["sick"]},
            adata=lambda: w.cohort().copy(),
            population_key=of("patient"),
        ),
        plot("push", {"basis": ["umap"]}, adata=course),
        plot("pull", {"basis": ["umap"]}, adata=course),
        plot("velocity", {"basis": ["umap"], "color": ["type"]}, adata=course),
        plot("growth", {"basis": ["umap"], "groupby": ["type"]}, adata=course),
        plot("interpolation", populations=lambda: {"one": course(), "two": A}, true=course),
        plot("perturbation", {"color": ["type"]}, adata=screen),
        plot(
            "response",
            {"kind": ["dots"], "groupby": ["type"], "dose": [1.0]},
            adata=screen,
            simulated=simulated,
            features=of(["G5"]),
        ),
        plot("response_heatmap", table=table["response"]),
        plot("score_cells", {"groupby": ["type"]}, adata=lambda: w.scored().copy()),
        plot("training", adata=course),
        plot("trajectory", {"color": ["type"]}, adata=course),
        plot("transition", {"kind": ["heatmap"]}, table=table["transition"]),
        plot("translation", {"color": ["type"]}, adata_source=source, adata_target=other),
    ]
