"""Options of a wrong type or out of range: an error that names the option, before anything is
written.
"""

import re

import numpy as np
import pytest
import torch

import scgenot as sg

QUICK = sg.model.FlowMatching(steps=2, validation_every=2)
NO_NUMBER = ("x", None, [1, 2])
NO_COUNT = (*NO_NUMBER, 1.5, np.nan, 0, -1, True)
NO_SHARE = (*NO_NUMBER, 0, 1.5, np.nan)
NO_DEVICE = ("gpu", 1.5, -1)
NO_SEED = ("x", 1.5, -1, np.nan)
NO_LIST = (1.5, 0)


@pytest.fixture(scope="module")
def screen():
    adata = sg.datasets.screen(30, drugs=["A", "B"], combinations=False, rng=0)
    sg.tl.embed(adata, method="pca", n_components=5)
    sg.tl.fit_perturbation(adata, "drug", "control", learner=QUICK, progress=False)
    return adata


@pytest.fixture(scope="module")
def course():
    adata = sg.datasets.branching(40, rng=0)
    sg.tl.fit_trajectory(adata, "time", learner=QUICK, progress=False)
    return adata


ASKED = {
    sg.tl.predict: {"target": "A", "progress": False},
    sg.tl.simulate: {"target": "A", "progress": False},
    sg.tl.response: {"target": "A"},
    sg.tl.calibrate: {},
    sg.tl.fit_perturbation: {
        "perturbation_key": "drug",
        "control": "control",
        "learner": QUICK,
        "progress": False,
    },
    sg.tl.embed: {"method": "pca"},
}
OF_SCREENS = {
    sg.tl.predict: {
        "n_samples": (*NO_COUNT, 1),
        "guidance": (*NO_NUMBER, np.nan),
        "rng": NO_SEED,
        "device": NO_DEVICE,
    },
    sg.tl.simulate: {
        "n_samples": NO_COUNT,
        "guidance": (*NO_NUMBER, np.nan),
        "rng": NO_SEED,
        "decoder": NO_LIST,
    },
    sg.tl.response: {
        "n_samples": (*NO_COUNT, 1),
        "interval": NO_SHARE,
        "guidance": (*NO_NUMBER, np.nan),
    },
    sg.tl.calibrate: {
        "levels": (*NO_NUMBER[:2], 0.9, [90], [], ["a"]),
        "guidance": (*NO_NUMBER, np.nan),
    },
    sg.tl.fit_perturbation: {
        "covariates": ("drug", *NO_LIST, None),
        "separator": (1, ""),
        "perturbation_key": (1, ["drug"]),
        "solver": ("sinkhorn", 1),
        "learner": ({"steps": 10}, 1),
        "device": NO_DEVICE,
        "rng": NO_SEED,
    },
    sg.tl.embed: {"n_components": (*NO_COUNT[:1], *NO_COUNT[2:]), "key_added": (1, "a/b")},
}
OF_COURSES = {
    sg.tl.push: {
        "n_samples": NO_COUNT,
        "device": NO_DEVICE,
        "rng": NO_SEED,
        "groupby": (["branch"], "kind"),
    },
    sg.tl.fate: {"n_samples": NO_COUNT, "groupby": (["branch"], "kind")},
    sg.tl.coupling: {"top_k": NO_COUNT, "device": NO_DEVICE},
    sg.tl.interpolate: {
        "decoder": NO_LIST,
        "n_cells": (*NO_COUNT[:1], *NO_COUNT[2:]),
        "time": ("x", None),
    },
    sg.tl.fit_trajectory: {"pairs": NO_LIST, "rng": NO_SEED, "covariates": (None, "branch")},
}
MORE = {
    sg.tl.push: {"cells": "A", "groupby": "branch"},
    sg.tl.fate: {"groupby": "branch"},
    sg.tl.coupling: {},
    sg.tl.interpolate: {"time": 0.5, "decoder": np.asarray},
    sg.tl.fit_trajectory: {"time_key": "time", "learner": QUICK, "progress": False},
}


def cases(table):
    """Each function or class, with an option and a value that it must refuse."""
    return [
        (function, name, value)
        for function, options in table.items()
        for name, values in options.items()
        for value in values
    ]


def not_refused(table, call, adata=None) -> list[str]:
    """Cases of a table without an error that names the option, or that left a trace in `adata`."""
    found, before = [], None if adata is None else slots(adata)
    for function, name, value in cases(table):
        case = f"{function.__name__}({name}={value!r})"
        try:
            call(function, {name: value})
        except (KeyError, TypeError, ValueError) as error:
            if not re.search(rf"`{name}\b", str(error)):
                found.append(f"{case}: {error}")
        else:
            found.append(f"{case}: no error")
        if adata is not None and slots(adata) != before:
            found.append(f"{case}: something was written")
    return found


def slots(adata) -> list[set[str]]:
    return [set(getattr(adata, name)) for name in ("obs", "obsm", "obsp", "uns")]


def test_functions_after_a_fit_of_perturbations_name_the_option(screen):
    def call(function, option):
        function(screen, **ASKED[function] | option)

    found = not_refused(OF_SCREENS, call, screen)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.medium
def test_functions_after_a_fit_of_times_name_the_option(course):
    def call(function, option):
        function(course, **MORE[function] | option)

    found = not_refused(OF_COURSES, call, course)
    assert not found, "\n" + "\n".join(found)


SOLVERS = {
    sg.ot.Sinkhorn: {
        "max_iterations": NO_COUNT,
        "max_cells": NO_COUNT,
        "tolerance": (*NO_NUMBER, np.nan, -1),
    },
    sg.ot.GromovWasserstein: {
        "n_starts": NO_COUNT,
        "memory_limit": (*NO_NUMBER, np.nan, -1),
        "tau": (1, ("a", 1)),
    },
    sg.ot.FusedGromovWasserstein: {"alpha": (*NO_NUMBER, np.nan, 2)},
    sg.model.FlowMatching: {
        **dict.fromkeys(("batch_size", "validation_every", "patience", "width", "depth"), NO_COUNT),
        "steps": tuple(value for value in NO_COUNT if value is not None),  # the task's default
        **dict.fromkeys(("learning_rate", "clip"), (*NO_NUMBER, 0, np.nan)),
        **dict.fromkeys(("weight_decay", "ema_decay"), (*NO_NUMBER, -1, np.nan)),
        **dict.fromkeys(
            ("source_noise", "condition_dropout", "validation_fraction"),  # or the task's default
            ("x", [1, 2], -0.1, np.nan),
        ),
        "displacement": ("x", 1, 0.5),
        "field": ("VelocityField", 1),
        "validation_split": (None, 1),
        "on_interrupt": ("stop", None),
        "precision": ("float16", None),
    },
}


def test_solvers_and_learners_name_the_option():
    found = not_refused(SOLVERS, lambda maker, option: maker(**option))
    assert not found, "\n" + "\n".join(found)
    assert len(not_refused(SOLVERS, lambda *_: None)) == len(cases(SOLVERS))


# what users of neighboring packages pass to `fit_*`, and what they are told to pass
MOVED = [
    ("fit_trajectory", "epsilon", 0.05, "solver=sg.ot.Sinkhorn(epsilon=0.05)"),
    ("fit_perturbation", "epsilon", 0.05, "solver=sg.ot.Sinkhorn(epsilon=0.05)"),
    ("fit_translation", "epsilon", 0.05, "solver=sg.ot.GromovWasserstein(epsilon=0.05)"),
    ("fit_translation", "alpha", 0.5, "solver=sg.ot.FusedGromovWasserstein(alpha=0.5)"),
    ("fit_translation", "n_starts", 9, "solver=sg.ot.GromovWasserstein(n_starts=9)"),
    ("fit_translation", "cost", "cosine", "solver=sg.ot.GromovWasserstein(intra_cost='cosine')"),
    ("fit_trajectory", "cost", np.dot, "solver=sg.ot.Sinkhorn(cost=...)"),
    ("fit_trajectory", "tau_a", 0.8, "solver=sg.ot.Sinkhorn(tau=(0.8, 1))"),
    ("fit_translation", "tau_b", 0.9, "solver=sg.ot.GromovWasserstein(tau=(1, 0.9))"),
    ("fit_trajectory", "n_iters", 10, "solver=sg.ot.Sinkhorn(max_iterations=10)"),
    ("fit_trajectory", "threshold", 1e-3, "solver=sg.ot.Sinkhorn(tolerance=0.001)"),
    ("fit_perturbation", "scale_cost", "mean", "solver=sg.ot.Sinkhorn(relative=True)"),
    ("fit_trajectory", "settings", None, "learner=sg.model.FlowMatching(steps=...)"),
    ("fit_trajectory", "steps", 100, "learner=sg.model.FlowMatching(steps=100)"),
    ("fit_trajectory", "max_epochs", 10, "learner=sg.model.FlowMatching(steps=10)"),
    (
        "fit_perturbation",
        "displacement",
        False,
        "sg.model.FlowMatching(displacement=False)",
    ),
    ("fit_perturbation", "condition_dropout", 0.2, "sg.model.FlowMatching(condition_dropout=0.2)"),
    ("fit_translation", "batch_size", 64, "learner=sg.model.FlowMatching(batch_size=64)"),
    ("fit_translation", "lr", 1e-3, "learner=sg.model.FlowMatching(learning_rate=0.001)"),
    ("fit_trajectory", "seed", 1, "`rng=0`"),
    ("fit_perturbation", "batch_key", "donor", "`covariates=[...]`"),
    ("fit_translation", "key", "mine", "`key_added`"),
    ("fit", "epsilon", 0.05, "solver=sg.ot.Sinkhorn(epsilon=0.05)"),
    ("fit_trajectory", "colour", "red", "See `help(sg.tl.fit_trajectory)`"),
]


def test_options_of_neighbors_are_told_where_they_went():
    found = []
    for verb, name, value, instead in MOVED:
        with pytest.raises(TypeError, match=f"`{verb}` takes no `{name}`") as error:
            getattr(sg.tl, verb)(None, None, **{name: value})
        if instead not in str(error.value):
            found.append(f"{verb}({name}={value!r}): {error.value}")
    assert not found, "\n" + "\n".join(found)


def test_what_is_suggested_can_be_passed():
    for *_, instead in MOVED:
        if "sg." in instead and "..." not in instead and "help" not in instead:
            code = instead[instead.index("sg.") :]
            eval(code.replace("'cosine'", "sg.ot.cosine"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(screen):
    with pytest.raises(ValueError, match=r"`device='cuda'` is not available .*; use 'cpu'"):
        sg.tl.fit_perturbation(
            screen, "drug", "control", device="cuda", learner=QUICK, progress=False
        )
