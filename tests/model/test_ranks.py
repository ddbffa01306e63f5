"""Two processes that fit together: the couplings of one, one model, the law of one."""

import multiprocessing
import os
from datetime import timedelta
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from torch import distributed

import scgenot as sg
from scgenot.model import ranks

LEARNER = sg.model.FlowMatching(
    steps=200, batch_size=64, width=32, depth=1, validation_fraction=0.2, validation_every=50
)


def screen():
    """A screen of several pairs, so that each process couples some."""
    return sg.datasets.screen(60, drugs=("A", "B", "C"), doses=(1.0,))


def fit(adata, learner=LEARNER, **options):
    options = {"predict": False, "progress": False, **options}
    sg.tl.fit_perturbation(adata, "drug", "control", learner=learner, **options)
    return adata.uns["genot"]


def in_group(work, folder: Path, own: int):
    """Run `work(folder, own)` in a process of a group of two."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/group",
        rank=own,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    try:
        work(folder, own)
    except BaseException as error:
        (folder / f"error{own}").write_text(f"{type(error).__name__}: {error}")
        raise
    finally:
        distributed.destroy_process_group()


def together(work, folder: Path) -> list[int]:
    """Run a function in two processes; return how they ended."""
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=in_group, args=(work, folder, own)) for own in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        child.kill()
    return [child.exitcode for child in children]


def fit_and_keep(folder: Path, own: int):
    adata = screen()
    checkpoint = sg.model.Checkpoint(folder / "run.safetensors", minutes=0)
    learner = sg.model.FlowMatching(**{**vars(LEARNER), "checkpoint": checkpoint})
    fit(adata, learner)
    adata.write_h5ad(folder / f"{own}.h5ad")


def fit_badly(folder: Path, own: int):
    def solver(pair):
        if pair.name.startswith("B"):
            raise ValueError("no coupling of B")
        return sg.ot.Sinkhorn()(pair)

    fit(screen(), solver=solver)


def leave(folder: Path, own: int):
    if own:
        os._exit(3)
    fit(screen())


def test_one_process_exchanges_nothing():
    assert (ranks.n_ranks(), ranks.rank()) == (1, 0)
    assert ranks.shared_work(lambda some: [k + 1 for k in some], [1, 2, 3]) == [2, 3, 4]
    batch = [torch.arange(4), None]
    assert torch.equal(ranks.share(batch)[0], batch[0])
    ranks.check_share(7)
    assert ranks.averaged([], torch.tensor(2.0)) == 2


@pytest.mark.slow
def test_two_processes_fit_as_one(tmp_path):
    assert together(fit_and_keep, tmp_path) == [0, 0]
    one, two = screen(), [ad.read_h5ad(tmp_path / f"{own}.h5ad") for own in range(2)]
    alone, entries = fit(one), [adata.uns["genot"] for adata in two]
    for number, link in alone["links"].items():
        for entry in entries:
            found = entry["links"][number]["plan"]
            for name in ("potential", "target", "target_weights"):
                np.testing.assert_allclose(found[name], link["plan"][name], atol=1e-5)
    # one model in both, to the bit
    weights = [entry["model"]["weights"] for entry in entries]
    for name, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][name])
    # it learns as well as one process does: other noise, the same batches
    losses = [entry["history"]["validation"].to_numpy()[-1] for entry in (alone, entries[0])]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert sg.model.TrainState.load(tmp_path / "run.safetensors").step == 200


@pytest.mark.slow
def test_an_error_of_one_process_is_raised_in_both(tmp_path):
    assert together(fit_badly, tmp_path) == [1, 1]
    for own in range(2):
        assert (tmp_path / f"error{own}").read_text() == "ValueError: no coupling of B"


@pytest.mark.slow
def test_a_process_that_ends_is_told_of(tmp_path):
    assert together(leave, tmp_path) == [1, 3]
    assert "one of them has ended" in (tmp_path / "error0").read_text()


def test_batches_that_cannot_be_divided(monkeypatch):
    monkeypatch.setattr(ranks, "n_ranks", lambda: 3)
    with pytest.raises(ValueError, match="`batch_size=256` must be a multiple of the 3 processes"):
        ranks.check_share(256)
