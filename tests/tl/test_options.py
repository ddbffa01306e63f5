"""Options of a wrong type or out of range: an error that names the option, before anything is
written.
"""

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
    return [
        pytest.param(function, name, value, id=f"{function.__name__}-{name}-{value}")
        for function, options in table.items()
        for name, values in options.items()
        for value in values
    ]


def refused(function, adata, options, name, value):
    before = adata.copy()
    with pytest.raises((KeyError, TypeError, ValueError), match=rf"`{name}\b"):
        function(adata, **options | {name: value})
    assert list(adata.obs) == list(before.obs)
    assert set(adata.obsm) == set(before.obsm)
    assert set(adata.uns) == set(before.uns)


@pytest.mark.parametrize(("function", "name", "value"), cases(OF_SCREENS))
def test_screens(screen, function, name, value):
    refused(function, screen, ASKED[function], name, value)


@pytest.mark.parametrize(("function", "name", "value"), cases(OF_COURSES))
def test_courses(course, function, name, value):
    refused(function, course, MORE[function], name, value)


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
        **dict.fromkeys(
            ("weight_decay", "ema_decay", "validation_fraction"), (*NO_NUMBER, -1, np.nan)
        ),
        **dict.fromkeys(("source_noise", "condition_dropout"), ("x", [1, 2], -0.1, np.nan)),
        "displacement": ("x", 1, 0.5),
        "field": ("VelocityField", 1),
        "validation_split": (None, 1),
        "on_interrupt": ("stop", None),
        "precision": ("float16", None),
    },
}


@pytest.mark.parametrize(("maker", "name", "value"), cases(SOLVERS))
def test_solvers_and_settings(maker, name, value):
    with pytest.raises((TypeError, ValueError), match=rf"`{name}\b"):
        maker(**{name: value})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(screen):
    with pytest.raises(
        ValueError, match=r"`device='cuda'` cannot be used here .*; 'cpu' always can"
    ):
        sg.tl.fit_perturbation(
            screen, "drug", "control", device="cuda", learner=QUICK, progress=False
        )
