"""Cells held out of training: out of all pairs, and nothing else is validated on."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from scgenot.model import FlowMatching, Genot, Validation, held_out, train
from scgenot.model.batches import Draws
from scgenot.ot import Sinkhorn
from scgenot.pair import Link, Pair


def cells(n, start=0):
    """Cells that are their own numbers."""
    return np.arange(start, start + n, dtype=float)[:, None]


def screen(n_drugs=4, n_control=200):
    rng = np.random.default_rng(0)
    links, start = [], n_control
    for _ in range(n_drugs):
        # each drug has its own part of the control cells, as rows in an order of their own
        source = rng.permutation(n_control)[: n_control - 20]
        target = np.arange(start, start + 90)
        start += 90
        pair = Pair(source[:, None] * 1.0, target[:, None] * 1.0)
        links.append(Link(pair, source, target))
    return links


def course(n_times=4, n=120):
    rows = [np.arange(k * n, (k + 1) * n) for k in range(n_times)]
    return [Link(Pair(a[:, None] * 1.0, b[:, None] * 1.0), a, b) for a, b in pairwise(rows)]


def held_and_trained(links, masks):
    held, trained = set(), set()
    for link, mask in zip(links, masks, strict=True):
        for rows, out in ((link.source_rows, mask.source), (link.target_rows, mask.target)):
            held |= set(rows[out.cpu().numpy()])
            trained |= set(rows[~out.cpu().numpy()])
    return held, trained


@pytest.mark.parametrize("links", [screen(), course()])
def test_a_cell_is_held_out_of_all_pairs_or_of_none(links):
    masks = held_out(links, 0.1, 0)
    held, trained = held_and_trained(links, masks)
    assert held
    assert not held & trained
    for mask in (side for masks_of_pair in masks for side in masks_of_pair):
        assert 15 <= mask.sum() <= len(mask) // 4


def test_arrays_that_are_one_object_are_the_same_cells():
    first, second, third = cells(200), cells(200, 200), cells(200, 400)
    masks = held_out([Link(Pair(first, second)), Link(Pair(second, third))], 0.1, 0)
    assert torch.equal(masks[0].target, masks[1].source)
    other = held_out([Link(Pair(first, second)), Link(Pair(second.copy(), third))], 0.1, 0)
    assert not torch.equal(other[0].target, other[1].source)


def test_rows_of_two_anndatas_are_different_cells():
    rows = np.arange(100)
    link = Link(Pair(cells(100), cells(100)), rows, rows, within=False)
    (masks,) = held_out([link], 0.1, 0)
    assert not torch.equal(masks.source, masks.target)


def test_overlapping_pairs_lose_at_most_a_quarter():
    rng = np.random.default_rng(0)
    links = []
    for size in (40, 40, 60, 500, 45, 300) * 4:
        rows = rng.choice(600, size, replace=False)
        links.append(Link(Pair(cells(size), cells(size)), rows, rows + 600))
    for masks in held_out(links, 0.1, 0):
        assert all(mask.sum() <= len(mask) // 4 for mask in masks)


def stratified(donors=("a", "b", "c"), pooled=()):
    links = []
    for k, donor in enumerate(donors * 2):
        rows = np.arange(50 * k, 50 * (k + 1))
        stratum = {"kind": "T"} if k in pooled else {"donor": donor, "kind": "T"}
        pair = Pair(rows[:25, None] * 1.0, rows[25:, None] * 1.0)
        links.append(Link(pair, rows[:25], rows[25:], stratum=stratum))
    return links


@pytest.mark.parametrize("split", ["donor", "stratum"])
def test_whole_strata_are_held_out(split):
    links = stratified()
    masks = held_out(links, 0.1, 0, split=split)
    whole = [bool(mask.source.all() and mask.target.all()) for mask in masks]
    assert whole == [bool(mask.source.any()) for mask in masks]
    assert len({link.stratum["donor"] for link, out in zip(links, whole, strict=True) if out}) == 1
    assert sum(whole) == 2


def test_strata_that_cannot_be_held_out_are_named():
    with pytest.raises(ValueError, match=r"`validation_split='batch'` is not a covariate"):
        held_out(stratified(), 0.1, 0, split="batch")
    with pytest.raises(ValueError, match=r"`validation_split='donor'` is not a covariate"):
        held_out(stratified(pooled=(3,)), 0.1, 0, split="donor")
    with pytest.raises(ValueError, match=r"`validation_split='kind'` needs at least two values"):
        held_out(stratified(), 0.1, 0, split="kind")
    assert not held_out(stratified(), 0.0, 0, split="batch")[0].source.any()
    pair, plan = stratified()[0].pair, Anything(25)
    learner = FlowMatching(steps=1, validation_split="donor")
    with pytest.raises(ValueError, match="`validation_split='donor'`"):
        train(Genot(1, 1), [pair], [plan], learner, progress=False)


class Anything:
    """A plan that can only be drawn from."""

    def __init__(self, n):
        self.n = n

    def sample_pairs(self, n_pairs, *, generator):
        return torch.randint(self.n, (2, n_pairs), generator=generator)


def draws_of(links, plans, masks):
    pairs = [link.pair for link in links]
    return Draws(pairs, plans, masks, batch_size=32, seed=0, device=torch.device("cpu"))


@pytest.mark.parametrize("whole", [True, False])
def test_training_and_validation_share_no_cell(whole):
    links = screen()
    plans = [
        Sinkhorn(epsilon=0.5)(link.pair) if whole else Anything(90) for link in links
    ]  # `Anything` draws from the first 90 cells of a side
    masks = held_out(links, 0.2, 0)
    held, trained = held_and_trained(links, masks)
    draws = draws_of(links, plans, masks)
    validation = Validation(draws)
    assert len(validation.batches) == len(links)
    for source, target, _ in validation.batches:
        assert set(source[:, 0].long().tolist()) <= held
        assert set(target[:, 0].long().tolist()) <= held
    for step in range(20):
        source, target, _ = draws.batch(step)
        assert set(source[:, 0].long().tolist()) <= trained
        assert set(target[:, 0].long().tolist()) <= trained


@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.7, 0.9)])
def test_validation_pairs_follow_the_plan(tau):
    """Their law is the plan's block of held-out cells, normalized."""
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 2, 40)
    pair = Pair(cells(40), cells(40, 10), source_weights=weights)
    plan = Sinkhorn(epsilon=0.3, tau=tau)(pair)
    masks = held_out([Link(pair)], 0.25, 0)
    validation = Validation(draws_of([Link(pair)], [plan], masks))
    ((source, target, _),) = validation.batches
    found = np.zeros((40, 40))
    np.add.at(found, (source[:, 0].long(), target[:, 0].long() - 10), 1 / len(source))
    dense = torch.cat([block for _, block in plan.mass_blocks()]).double().cpu().numpy()
    dense *= masks[0].source.cpu().numpy()[:, None] & masks[0].target.cpu().numpy()
    # each pair comes up its expected number of times in 4096, give or take one
    np.testing.assert_allclose(found, dense / dense.sum(), atol=1.01 / 4096)


class Rows(Anything):
    """A plan that has rows, and nothing else to tell."""

    def rows(self, cells):
        return torch.ones(len(cells), self.n) / self.n


def test_a_plan_of_rows_alone_is_validated_on():
    link = course(2)[0]
    (masks,) = held_out([link], 0.2, 0)
    ((source, target, _),) = Validation(draws_of([link], [Rows(120)], [masks])).batches
    held, _ = held_and_trained([link], [masks])
    assert set(torch.cat([source, target])[:, 0].long().tolist()) == held


def test_one_of_two_strata_can_be_held_out():
    masks = held_out(stratified(("a", "b")), 0.1, 0, split="donor")
    assert sum(bool(mask.source.all()) for mask in masks) == 2
    assert sum(bool(mask.source.any()) for mask in masks) == 2


def test_training_validates_on_what_it_does_not_see(monkeypatch):
    """Loss of training and of validation, and the divergence, in one run."""
    link, seen = course(2)[0], {True: set(), False: set()}
    (masks,) = held_out([link], 0.2, 0)
    loss, sample = Genot.loss, Genot.sample

    def spied_loss(self, source, target, *args, **kwargs):
        seen[self.training].update(torch.cat([source, target])[:, 0].long().tolist())
        return loss(self, source, target, *args, **kwargs)

    def spied_sample(self, source, *args, **kwargs):
        seen[False].update(source[:, 0].long().tolist())
        return sample(self, source, *args, **kwargs)

    monkeypatch.setattr(Genot, "loss", spied_loss)
    monkeypatch.setattr(Genot, "sample", spied_sample)
    learner = FlowMatching(steps=8, batch_size=32, validation_every=4)
    plan, model = Rows(120), Genot(1, 1, width=8, depth=1)
    state = train(model, [link.pair], [plan], learner, progress=False, masks=[masks])
    assert "divergence" in state.history[-1]
    held, trained = held_and_trained([link], [masks])
    assert seen[False] == held
    assert seen[True] <= trained


def test_at_most_64_pairs_are_validated_on():
    shared = cells(100)
    links = [Link(Pair(shared, shared.copy())) for _ in range(100)]
    masks = held_out(links, 0.1, 0)
    assert all(mask.source.any() for mask in masks)
    assert len(Validation(draws_of(links, [Anything(100)] * 100, masks)).batches) == 64


def test_a_pair_that_is_held_out_as_a_whole_is_not_drawn_from():
    links = stratified()
    masks = held_out(links, 0.1, 0, split="donor")

    class Forbidden:
        def sample_pairs(self, n_pairs, *, generator):
            raise AssertionError

    plans = [Forbidden() if mask.source.all() else Anything(25) for mask in masks]
    draws = draws_of(links, plans, masks)
    held, _ = held_and_trained(links, masks)
    assert not set(draws.batch(0).source[:, 0].long().tolist()) & held


def test_nothing_left_to_train_on_is_named():
    links = stratified()[:1]
    masks = [type(mask)(~mask.source, ~mask.target) for mask in held_out(links, 0.0, 0)]
    with pytest.raises(ValueError, match="`validation_fraction=0`"):
        draws_of(links, [Anything(25)], masks).batch(0)
