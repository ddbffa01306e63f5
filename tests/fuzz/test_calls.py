"""Each argument of each public function refuses what it cannot take; some generated calls."""

from inspect import isfunction

import pytest

import scgenot as sg
from fuzz import calls, worlds
from fuzz.table import entries
from fuzz.wrong import Something

# what may be anything: checked for what it can do, where it is used
ANYTHING = {"task", "model", "field", "encoder", "solver", "learner"}
TABLE = worlds.quietly(entries)
EACH = [(entry, name) for entry in TABLE for name in entry.arguments]


def test_every_public_function_is_in_the_table():
    tried = {entry.name for entry in TABLE}
    for module in ("tl", "get", "metrics", "baselines", "pl"):
        offered = getattr(sg, module)
        functions = [name for name in offered.__all__ if isfunction(getattr(offered, name))]
        assert {f"{module}.{name}" for name in functions} <= tried
    solvers = ("Sinkhorn", "GromovWasserstein", "FusedGromovWasserstein", "Minibatch")
    assert {*(f"ot.{name}" for name in solvers), "model.FlowMatching", "model.sample"} <= tried


@pytest.mark.slow
def test_an_object_of_no_kind_is_refused_by_name():
    found = [
        f"{entry.name}({name}): {wrong}" for entry, name in EACH if (wrong := tried(entry, name))
    ]
    assert not found, "\n" + "\n".join(found)


def tried(entry, name):
    """Pass an object of no kind as one argument; return what is wrong with the answer, or None."""
    given = worlds.quietly(entry.make)
    call = calls.Call(entry, {name: "object"}, {name: Something()})
    how, wrong = worlds.quietly(calls.judge, call)
    if wrong is not None or name in ANYTHING:
        return wrong
    if how != "refused":
        return f"is not refused but {how}"
    try:
        worlds.quietly(entry.call, **{**given, name: Something()})
    except (TypeError, ValueError, KeyError) as error:
        return None if name in str(error) else f"is not named by {error}"
    return "is not refused"


@pytest.mark.medium
def test_generated_calls():
    ended, failures = calls.run(200, seed=1)
    assert not failures, "\n".join(f"{call}: {wrong}" for call, wrong in failures)
    assert sum(ended.values()) == 200
    assert ended["succeeded"] >= 10


def test_the_judge_sees_what_is_wrong():
    entry = calls.Entry("tl.bad", lambda adata: adata.obs.pop("type"), lambda: {})
    adata = worlds.other().copy()
    call = calls.Call(entry, {"adata": "right"}, {"adata": adata})
    assert "changed the input" in calls.judge(call)[1]
    entry.call = lambda adata: adata.nothing
    assert "undocumented AttributeError" in calls.judge(call)[1]
    entry.call = lambda adata: float("nan")
    assert "is nan" in calls.judge(call)[1]
