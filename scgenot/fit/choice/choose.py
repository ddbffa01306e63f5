"""Choose between candidates on held-out cells, and fit the one that was chosen to all."""

from copy import copy

from anndata import AnnData

from scgenot._check import check_count, usable_device
from scgenot._random import seed_of
from scgenot._warn import warn_user
from scgenot.cells.read import check_column
from scgenot.fit import storage
from scgenot.fit.choice.candidates import AUTO, Candidate, as_list, candidates_of
from scgenot.fit.choice.folds import CELLS, NoChoice, folds_of
from scgenot.fit.choice.score import quiet, score_candidates
from scgenot.fit.chosen import LEVEL, Choice
from scgenot.fit.coupled import links_of
from scgenot.fit.evaluation.generic import RANDOM
from scgenot.fit.evaluation.screen import ALL_CELLS
from scgenot.fit.fit import Fit
from scgenot.fit.making import Learners, Solvers

# these repeat cells of the fit: when held-out cells are like those, nothing comes closer as a
# population, and no more than that is seen of a fit by such cells
REPEATING = (RANDOM, ALL_CELLS, "discrete plan")


def fit_chosen(
    adata: AnnData,
    task,
    *,
    solver: Solvers,
    learner: Learners,
    hold_out: str,
    n_folds: int,
    predict: bool | None,
    key: str,
    rng,
    device: str | None,
    progress: bool,
) -> Fit:
    """Fit a task by the only candidate, or by the one that does best on held-out cells."""
    solvers, learners = as_list("solver", solver), as_list("learner", learner)
    check_count("n_folds", n_folds, 2)
    if hold_out != CELLS:
        check_column(adata, hold_out, "hold_out")
    run = {"predict": predict, "key": key, "device": device, "progress": progress}
    if len(solvers) * len(learners) == 1 and AUTO not in (solvers[0], learners[0]):
        return Fit.make(adata, task, solver=solvers[0], learner=learners[0], rng=rng, **run)
    seed, place = seed_of(rng), usable_device(device)
    own = copy(task)
    with quiet():  # the fit that is returned warns of what it finds
        links = links_of(own, adata)
    storage.check_free(adata, key, own)
    if predict:
        own.ask(adata)
    refuse_two(links, several="solver" if solvers[1:] or solvers[0] == AUTO else "learner")
    candidates = candidates_of(solvers, learners, own, links, device=place, seed=seed)
    chosen, choice = candidates[0], None
    if len(candidates) > 1:
        try:
            folds = folds_of(own, adata, links, hold_out, n_folds, seed)
            choice = choose(adata, own, candidates, folds, seed=seed, device=place, bar=progress)
            chosen = {one.name: one for one in candidates}[choice.chosen]
        except NoChoice as why:
            warn_user(
                f"{len(candidates)} candidates could not be compared: {why}. The first candidate, "
                f"{chosen.name}, was fitted."
            )
    made = Fit.make(adata, task, solver=chosen.solver, learner=chosen.learner, rng=seed, **run)
    made.choice = choice
    if choice is not None:
        warn_of_baseline(choice, hold_out, key)
    return made


def refuse_two(links, *, several: str) -> None:
    """Raise a ValueError when source and target cells are in two AnnData."""
    if not all(link.within for link in links):
        raise ValueError(
            f"`{several}` has several candidates, which are compared on cells that were held out: "
            "between two AnnData the true targets of these are not known. Pass one, and compare "
            "fits with `sg.tl.evaluate` on paired cells."
        )


def choose(
    adata: AnnData, task, candidates: list[Candidate], folds: list, *, seed: int, device, bar: bool
) -> Choice:
    """Score candidates by fold, and choose."""
    options = {"seed": seed, "device": device, "progress": bar}
    scores, failed = score_candidates(adata, task, candidates, folds, **options)
    reasons = "; ".join(f"{name} ({why})" for name, why in failed.items())
    if len(failed) == len(candidates):
        first, why = next(iter(failed.items()))
        raise NoChoice(f"all candidates failed on a fold, {first} with {why}")
    if failed:
        warn_user(f"{len(failed)} of {len(candidates)} candidates failed: {reasons}.")
    return Choice.of(scores, [candidate.name for candidate in candidates], failed)


def warn_of_baseline(choice: Choice, hold_out: str, key: str) -> None:
    """Warn when a trivial answer is closer to held-out cells than the candidate that was chosen."""
    found = choice.winning_baseline(REPEATING if hold_out == CELLS else ())
    if found is not None:
        ours = choice.choice_summary.set_index("chosen").loc[True, "value"]
        warn_user(
            f"On held-out cells, the baseline {found['candidate']!r} is closer to the held-out "
            f"cells than the best fit, with an energy distance of {found['value']:.3g} against "
            f"{ours:.3g} ({LEVEL:.0%} interval of the relative difference over folds "
            f"{found['low']:.2g} to {found['high']:.2g}): see `sg.pl.choice(adata, key={key!r})`."
        )
