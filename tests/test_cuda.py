"""What a GPU computes is what the processor does; these tests run where there is one."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from torch import nn

import scgenot as sg
from scgenot.ot import blocks
from scgenot.ot.extension import subset_weights

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


class Own(nn.Module):
    """A field that a user wrote, and that counts its calls in Python."""

    def __init__(self, source_dim, target_dim, condition_dim):
        super().__init__()
        self.linear, self.calls = nn.Linear(source_dim + target_dim + 1, target_dim), 0

    def forward(self, t, z, source, condition=None):
        self.calls += 1
        return self.linear(torch.cat([t[:, None], z, source], -1))


def pair(n=400, m=300, d=5) -> sg.Pair:
    rng = np.random.default_rng(0)
    return sg.Pair(rng.normal(size=(n, d)), 1 + 0.5 * rng.normal(size=(m, d)))


def screen() -> AnnData:
    rng, drug = np.random.default_rng(0), np.repeat(["control", "A", "B"], 150)
    cells = rng.normal(size=(450, 6)) + (drug[:, None] == "A") - (drug[:, None] == "B")
    obs = pd.DataFrame({"drug": drug}, index=[f"cell-{i}" for i in range(450)])
    return AnnData(obs=obs, obsm={"X_pca": cells.astype(np.float32)})


def trained(device: str, **options) -> tuple[sg.Genot, torch.Tensor]:
    torch.manual_seed(0)
    model, one = sg.Genot(5, 5, field=options.pop("field", None)).to(device), pair()
    plan = sg.ot.Sinkhorn(0.3, device=device)(one)
    learner = sg.model.FlowMatching(steps=40, batch_size=128, **options)
    state = sg.model.train(model, [one], [plan], learner, progress=False)
    return model, state.losses


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recorded_steps_are_the_steps(monkeypatch, precision):
    model, losses = trained("cuda", precision=precision)
    module = sys.modules["scgenot.model.train"]  # the package has a function of that name
    monkeypatch.setattr(module, "can_record", lambda field: False)
    plain, expected = trained("cuda", precision=precision)
    torch.testing.assert_close(losses, expected, rtol=0, atol=0)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def test_a_field_of_the_user_is_called_at_every_step():
    model, losses = trained("cuda", field=Own, validation_fraction=0)
    assert losses.isfinite().all()
    assert model.field.calls == 40


def test_two_trainings_beside_each_other():
    (one, a), (two, b) = trained("cuda"), trained("cuda")
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    cells = pair().source
    torch.testing.assert_close(one.sample(cells), two.sample(cells), rtol=0, atol=0)


def test_draws_of_a_model_do_not_depend_on_the_device():
    model, _ = trained("cpu")
    cells = pair().source
    expected = model.sample(cells, n_samples=3)
    found = model.to("cuda").sample(cells, n_samples=3)
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("memory_limit", [2.0, 0.0])
@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.9, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_couplings_do_not_depend_on_the_device(memory_limit, tau, dtype):
    one, options = pair(), {"memory_limit": memory_limit, "tau": tau, "dtype": dtype}
    here, there = (
        sg.ot.Sinkhorn(0.05, tolerance=1e-5, device=device, **options)(one)
        for device in ("cpu", "cuda")
    )
    # within the tolerance of both solutions
    assert float((here.rows() - there.rows().cpu()).abs().sum(1).mean()) < 1e-4
    i, j = there.sample_pairs(1000, generator=torch.Generator().manual_seed(0))
    assert i.device.type == j.device.type == "cuda"


def test_quadratic_couplings_do_not_depend_on_the_device():
    rng = np.random.default_rng(0)
    x = rng.gamma(1.0, size=(200, 4)) / np.arange(1, 5)
    one = sg.Pair(x, x @ rng.normal(size=(4, 6)))
    here, there = (sg.ot.GromovWasserstein(device=device)(one) for device in ("cpu", "cuda"))
    assert there.diagnostics.objective == pytest.approx(here.diagnostics.objective, rel=1e-3)
    assert float((here.rows() - there.rows().cpu()).abs().sum(1).mean()) < 0.05


def test_predictions_of_a_fit_do_not_depend_on_the_device():
    adata, learner = screen(), sg.model.FlowMatching(steps=50)
    sg.tl.fit_perturbation(
        adata, "drug", "control", learner=learner, device="cuda", predict=False, progress=False
    )
    sg.tl.predict(adata, "A", device="cuda", progress=False)
    here = adata.obsm["X_genot"].copy()
    sg.tl.predict(adata, "A", device="cpu", progress=False)
    np.testing.assert_allclose(adata.obsm["X_genot"], here, rtol=1e-4, atol=1e-4)


def test_products_of_costs_are_not_rounded():
    one = pair(d=50)
    solver = sg.ot.Sinkhorn(0.05, device="cuda")
    expected = solver(one).rows()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            found = solver(one).rows()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="`device='cuda:99'` is not available"):
        sg.ot.Sinkhorn(device="cuda:99")(pair())


@pytest.mark.parametrize(("n", "m", "d"), [(5000, 4100, 50), (4096, 4096, 1), (4100, 140_000, 64)])
@pytest.mark.parametrize("far", [0.0, 100.0])
def test_sums_in_one_pass_are_the_sums(n, m, d, far):
    pytest.importorskip("triton")
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(k, d, generator=generator, dtype=torch.float64) + far for k in (n, m))
    shift = torch.randn(m, generator=generator, dtype=torch.float64)
    shift[::3] = -torch.inf  # cells without weight
    epsilon, single = 0.3 * d, [part.float().cuda() for part in (x, y, shift)]
    assert blocks.can_fuse(sg.ot.squared_euclidean, *single[:2])
    found = blocks.row_sums(sg.ot.squared_euclidean, *single, epsilon)
    # of the numbers that float32 holds
    exact = (part.double() for part in single)
    expected = blocks.row_sums(sg.ot.squared_euclidean, *exact, epsilon)
    # rounding of squared lengths and of products, relative to epsilon
    size = float((single[0].double() - far).square().sum(1).max()) + 2 * d
    assert float((found - expected).abs().max()) < 20 * 2**-24 * size / epsilon + 1e-5
    flipped = blocks.column_sums(sg.ot.squared_euclidean, single[1], single[0], single[2], epsilon)
    torch.testing.assert_close(flipped, found, rtol=0, atol=1e-4)


def test_a_coupling_that_is_not_stored():
    one = pair(5000, 4500, 10)
    stored, streamed = (
        sg.ot.Sinkhorn(0.05, tolerance=1e-5, memory_limit=limit, device="cuda")(one)
        for limit in (2.0, 0.0)
    )
    assert streamed.diagnostics.converged
    assert float((stored.rows() - streamed.rows()).abs().sum(1).mean()) < 1e-3
    here = sg.ot.Sinkhorn(0.05, tolerance=1e-5, device="cpu")(one)
    assert float((here.rows() - streamed.rows().cpu()).abs().sum(1).mean()) < 1e-3


def test_couplings_solved_together_are_those_of_the_processor():
    rng, pairs = np.random.default_rng(0), [pair(n=90 + k, m=70 - k) for k in range(12)]
    pairs.append(sg.Pair(rng.normal(size=(90, 5)), rng.normal(size=(2, 5))))
    options = {"epsilon": 0.05, "dtype": torch.float64, "tolerance": 1e-9}
    found = dict(sg.ot.Sinkhorn(device="cuda", **options).solve_all(pairs))
    assert sorted(found) == list(range(13))
    for k, plan in found.items():
        assert plan.device.type == "cuda"
        alone = sg.ot.Sinkhorn(device="cpu", **options)(pairs[k])
        torch.testing.assert_close(plan.rows().cpu(), alone.rows(), rtol=0, atol=1e-7)
        assert plan.diagnostics.outcomes == alone.diagnostics.outcomes


def test_a_subset_has_the_weights_of_the_processor():
    x = torch.tensor(pair().source)
    weights, cells = torch.full((400,), 1 / 400), torch.arange(0, 400, 5)
    expected = subset_weights(x, weights, cells)
    found = subset_weights(x.cuda(), weights.cuda(), cells.cuda())
    torch.testing.assert_close(found.cpu(), expected)
