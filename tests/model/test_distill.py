"""Distilled samplers: the comparison with a teacher against closed forms, and what is refused."""

import copy

import numpy as np
import pytest
import torch
from scipy import sparse

import scgenot as sg
from scgenot.flow import ODE
from scgenot.model import Distilled, Genot, ModelFileError, distill
from scgenot.model.distill import bures, compare, energy
from truth.gaussians import optimal_field, random_problem
from truth.laws import bures_wasserstein, cbw_uvp

DIM = 3


@pytest.fixture(scope="module")
def problem():
    return random_problem(DIM, np.random.default_rng(0))


@pytest.fixture(scope="module")
def teacher(problem):
    """A small model that was trained on exact draws of a Gaussian law."""
    rng = np.random.default_rng(1)
    x = problem.sample_source(2000, rng)
    pair = sg.Pair(x, problem.sample_conditional(x, 1, rng)[:, 0])
    learner = sg.model.FlowMatching(steps=400, width=32, depth=2, validation_fraction=0)
    link = sg.Link(pair, plan=sg.ot.SparsePlan(sparse.identity(len(x))))
    return learner([link], sg.model.Run(progress=False)).model, x


def test_the_distance_of_laws_is_that_of_their_moments():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(4, 50, DIM)) @ rng.normal(size=(4, DIM, DIM))
    b = rng.normal(size=(4, 50, DIM)) + 0.5
    moments = [
        part
        for side in (a, b)
        for part in (side.mean(1), np.stack([*map(np.cov, side.swapaxes(-1, -2))]))
    ]
    found = bures(torch.as_tensor(a), torch.as_tensor(b)).cpu().numpy()
    np.testing.assert_allclose(found, bures_wasserstein(*moments), rtol=1e-9)


@pytest.mark.medium
def test_the_energy_distance_of_normal_laws():
    """In one dimension: E|a - b| of N(0, 1) and N(d, 1) is the mean of a folded normal law."""
    d, generator = 1.0, torch.Generator().manual_seed(0)
    z = torch.randn(200, 200, 1, generator=generator, dtype=torch.float64)
    own = 2 / np.sqrt(np.pi)
    normal = torch.distributions.Normal(0.0, 1.0)
    phi = float(normal.cdf(torch.tensor(-d / np.sqrt(2))))
    between = own * np.exp(-(d**2) / 4) + d * (1 - 2 * phi)
    found = energy(z, z + d)
    # 200 draws have about .3 of it as standard deviation, and there are 200 of those
    assert float(found.mean()) == pytest.approx(1 - own / between, rel=0.07)
    assert float(energy(z, z.clone()).abs().max()) < 1e-12


def test_one_step_of_an_untaught_student_is_found_to_be_the_mean(problem):
    """At time 0 the velocity is `m(x) - z`: one step ends at the mean, all spread is missing."""
    rng = np.random.default_rng(3)
    x = problem.sample_source(20_000, rng)
    y = problem.sample_conditional(x, 1, rng)[:, 0]
    model = Genot(DIM, DIM, field=lambda p, q, c: torch.nn.Identity()).double()
    model.units.fit([sg.Pair(x, y)])
    units = model.units.source, model.units.target
    model.field = optimal_field(
        problem, *(getattr(unit, name).cpu().numpy() for unit in units for name in ("mean", "std"))
    )
    model.add_student(Distilled(1, 0.0, 0.0), torch.zeros(1, 0))
    cells = torch.as_tensor(x[:256])
    found, _ = compare(model, cells, None, torch.Generator().manual_seed(0))
    exact = 200 * np.trace(problem.S) / y.var(0).sum()
    # 256 x 128 draws, and six midpoint steps
    assert found == pytest.approx(exact, rel=0.02)
    with pytest.raises(ValueError, match="The field of `model` has no weights"):
        distill(model, x[:100], progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2])
def test_the_student_is_as_good_as_its_teacher(problem, teacher, steps):
    model, x = teacher
    before = copy.deepcopy(model.state_dict())
    found = distill(model, x, steps=steps, progress=False)
    assert found.distilled.steps == steps
    assert max(found.distilled.uvp, found.distilled.energy) < 0.3
    assert model.student is None
    for name, value in before.items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)
    new = problem.sample_source(200, np.random.default_rng(9))
    scores = [
        cbw_uvp(problem, new, one.sample(new, n_samples=500, rng=1).cpu().numpy())
        for one in (model, found)
    ]
    assert scores[1] < scores[0] + 0.3
    # the teacher, where it is asked for, and for what it alone can do
    for options in ({"integrator": ODE("midpoint", steps=6)}, {"integrator": ODE("rk4", steps=20)}):
        draws = [one.sample(new, rng=2, **options) for one in (model, found)]
        torch.testing.assert_close(*draws, rtol=0, atol=0)
    codes = [one.encode(new, new) for one in (model, found)]
    torch.testing.assert_close(*codes, rtol=0, atol=0)


@pytest.fixture
def conditional():
    """An untrained model of two conditions; its field is nearly a straight flow."""
    torch.manual_seed(0)
    model = Genot(2, 2, 2, width=8, depth=1, condition_dropout=0.1)
    x = np.random.default_rng(4).normal(size=(40, 2)).astype(np.float32)
    told = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
    return model, x, told


@pytest.fixture
def student(conditional):
    made = copy.deepcopy(conditional[0])
    made.add_student(Distilled(2, 0.1, 0.0), torch.as_tensor(np.eye(2, dtype=np.float32)))
    return made


def test_it_draws_for_the_conditions_that_it_knows(conditional, student):
    model, x, told = conditional
    few = {"integrator": ODE("euler", steps=2)}
    torch.testing.assert_close(student.sample(x, told), model.sample(x, told, **few))
    torch.testing.assert_close(student.sample(x, told[0]), model.sample(x, told[0], **few))
    mixed = told.copy()
    mixed[3] = 0.5
    for asked, options in ((mixed, {}), (told[0] * 0.5, {}), (told, {"guidance": 2.0})):
        found = [one.sample(x, asked, **options) for one in (student, model)]
        torch.testing.assert_close(*found, rtol=0, atol=0)


def test_it_goes_to_a_file_with_its_teacher(conditional, student, tmp_path):
    _, x, told = conditional
    path = tmp_path / "model.safetensors"
    student.save(path)
    again = Genot.load(path)
    assert again.distilled == student.distilled
    torch.testing.assert_close(again.sample(x, told), student.sample(x, told), rtol=0, atol=0)
    config, arrays = student.to_arrays()
    for gone, what in {"field.": "its teacher", "student_cond": "its conditions"}.items():
        rest = {name: array for name, array in arrays.items() if not name.startswith(gone)}
        with pytest.raises(ModelFileError, match=f"a distilled sampler without {what}"):
            Genot.from_arrays(config, rest)
    with pytest.raises(ModelFileError, match="'student"):
        Genot.from_arrays({k: v for k, v in config.items() if k != "distilled"}, arrays)
    for damage in ({"steps": 0}, {"steps": 1.5}, {"uvp": "x"}, {"more": 1}):
        with pytest.raises(ModelFileError, match="distilled sampler is damaged"):
            Genot.from_arrays(config | {"distilled": config["distilled"] | damage}, arrays)


@pytest.mark.medium
def test_what_is_not_as_good_is_refused_with_its_figures(teacher):
    model, x = teacher
    with pytest.raises(ValueError, match=r"`steps=1`: the student is less.*Pass `steps=2`"):
        distill(model, x, n_pairs=64, training_steps=1, progress=False)


def test_bad_input(teacher):
    model, x = teacher
    with pytest.raises(ValueError, match="`source` has 1 distinct cells: at least 5 are needed"):
        distill(model, np.repeat(x[:1], 9, 0), progress=False)
    for name in ("steps", "n_pairs", "training_steps"):
        with pytest.raises(ValueError, match=f"`{name}=0` must be an integer >= 1"):
            distill(model, x, **{name: 0})
    with pytest.raises(TypeError, match="`model='model'` must be a Genot"):
        distill("model", x)


def test_training_on_forgets_the_student(teacher):
    model, x = teacher
    model = copy.deepcopy(model)
    model.add_student(Distilled(1, 0.0, 0.0), torch.zeros(1, 0))
    pair = sg.Pair(x[:50], x[:50])
    learner = sg.model.FlowMatching(steps=2, validation_fraction=0)
    sg.model.train(model, [pair], [sg.ot.Sinkhorn()(pair)], learner, progress=False)
    assert model.distilled is None
    assert not any(name.startswith("student") for name in model.state_dict())


@pytest.mark.medium
def test_the_same_seed_gives_the_same_bits(teacher):
    model, x = teacher
    few = {"n_pairs": 256, "training_steps": 1, "steps": 30, "progress": False}
    one, two = (distill(model, x[:60], rng=3, **few) for _ in range(2))
    assert one.sample(x[:5]).cpu().numpy().tobytes() == two.sample(x[:5]).cpu().numpy().tobytes()
