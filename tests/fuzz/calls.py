"""Generated calls of the public functions: `python tests/fuzz/calls.py --n 2000 --seed 0`."""

import argparse
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
import scgenot
from fuzz import worlds
from fuzz.table import Entry, entries
from fuzz.wrong import ANNDATA, VALUES, arrays
from scgenot._typed import allows
from scgenot.model import ModelFileError
from scgenot.ot import UnsupportedPlan

DOCUMENTED = (
    TypeError, ValueError, KeyError, ModelFileError, FileNotFoundError, FloatingPointError,
    UnsupportedPlan,
)  # fmt: skip
HOME = str(Path(scgenot.__file__).parent)
FUNCTIONS = ("function", "type")
SECONDS = 60  # a call that takes longer is a failure


@dataclass(frozen=True)
class Call:
    """A function and, by argument, the kind of value that it gets."""

    entry: Entry
    kinds: dict[str, str]
    values: dict[str, object]

    def __str__(self):
        return f"{self.entry.name}({', '.join(f'{k}: {v}' for k, v in self.kinds.items())})"


class TooSlow(BaseException):
    """A call took too long."""


def choices(entry: Entry, argument: str, given) -> dict[str, object]:
    """Kinds of values for one argument, by name; functions make AnnData of the right one."""
    kinds = {k: v for k, v in VALUES.items() if k not in entry.slow.get(argument, ())}
    kinds |= {f"right {i}": value for i, value in enumerate(entry.others.get(argument, []))}
    if isinstance(given, AnnData):
        kinds |= ANNDATA
    if isinstance(given, np.ndarray) and given.ndim == 2:
        kinds |= {f"cells {name}": value for name, value in arrays(given).items()}
    return kinds


def likely(rng: np.random.Generator, entry: Entry, name: str, found: dict) -> str:
    """Draw a kind of value; every other time one whose type is right."""
    kind = signature(entry.call).parameters[name].annotation
    fits = [key for key, value in found.items() if key in ANNDATA or allows(kind, value)]
    return str(rng.choice(fits if fits and rng.integers(2) else list(found)))


def each_argument(rng: np.random.Generator) -> Iterator[Call]:
    """One call for each argument of each function, with one kind drawn for it."""
    for entry in entries():
        given = entry.make()
        for name in entry.arguments:
            kinds = choices(entry, name, given.get(name))
            kind = str(rng.choice(list(kinds)))
            yield Call(entry, {name: kind}, {name: kinds[kind]})


def generated(n: int, seed: int) -> Iterator[Call]:
    """Generate calls: the first give each argument once, the others several of them."""
    rng = np.random.default_rng(seed)
    found = list(each_argument(rng))
    rng.shuffle(found)
    yield from found[:n]
    table = entries()
    right = [entry.make() for entry in table]
    for _ in range(n - len(found)):
        k = int(rng.integers(len(table)))
        entry, given = table[k], right[k]
        many = 1 + int(rng.integers(3) == 0) + int(rng.integers(6) == 0)
        names = rng.choice(entry.arguments, min(many, len(entry.arguments)), replace=False)
        kinds, values = {}, {}
        for name in map(str, names):
            found = choices(entry, name, given.get(name))
            kinds[name] = likely(rng, entry, name, found)
            values[name] = found[kinds[name]]
        yield Call(entry, kinds, values)


def arguments(call: Call) -> dict[str, object]:
    """What is passed: the right values, with some replaced."""
    given = call.entry.make()
    for name, value in call.values.items():
        is_change = call.kinds[name] in ANNDATA and isinstance(given.get(name), AnnData)
        given[name] = value(given[name]) if is_change else value
    return given


def print_of(value) -> object:
    """A comparable print of what a value holds, types and all."""
    if isinstance(value, AnnData):
        slots = ("obs", "var", "obsm", "varm", "obsp", "uns", "layers")
        return {"X": print_of(value.X), **{s: print_of(getattr(value, s)) for s in slots}}
    if isinstance(value, pd.DataFrame):
        columns = {str(name): print_of(value[name]) for name in value}
        return {"index": print_of(value.index.to_numpy()), **columns}
    if hasattr(value, "items"):
        return {str(name): print_of(entry) for name, entry in value.items()}
    if sparse.issparse(value):
        return (value.format, print_of(value.toarray()))
    if isinstance(value, pd.Series):
        return (str(value.dtype), print_of(value.to_numpy(dtype=object)))
    if isinstance(value, np.ndarray):
        held = repr(value.tolist()) if value.dtype == object else value.tobytes()
        return (str(value.dtype), value.shape, hash(held))
    if isinstance(value, (list, tuple, set)):
        return (type(value).__name__, [print_of(each) for each in value])
    return repr(value) if isinstance(value, (str, float, int, bool)) else type(value).__name__


def changes(before, after, where: str = "") -> Iterator[str]:
    """Entries of two prints that were there and differ, or are gone."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, held in before.items():
            yield from changes(held, after.get(name), f"{where}/{name}")
        return
    if before != after:
        yield where


def unfinished(value, where: str = "result") -> Iterator[str]:
    """Places of a result that are not finite, other than rows that are NaN throughout."""
    if isinstance(value, AnnData):
        for slot in ("X", "obsm", "layers"):
            yield from unfinished(getattr(value, slot), f"{where}.{slot}")
    elif isinstance(value, pd.DataFrame):  # tables have NaN where a score is not defined
        numbers = value.select_dtypes("number").to_numpy(dtype=float, na_value=np.nan)
        if np.isinf(numbers).any():
            yield f"{where} has infinite values"
    elif hasattr(value, "items"):
        for name, entry in value.items():
            yield from unfinished(entry, f"{where}[{name}]")
    elif isinstance(value, (tuple, list)):
        for i, entry in enumerate(value):
            yield from unfinished(entry, f"{where}[{i}]")
    elif hasattr(value, "detach"):
        yield from unfinished(value.detach().cpu().numpy(), where)
    elif sparse.issparse(value):
        yield from unfinished(value.data, where)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        bad = ~np.isfinite(value)
        whole = value.ndim == 2 and (np.isnan(value).all(1) == bad.any(1)).all()
        if bad.any() and not whole:
            yield f"{where} is not finite"
    elif isinstance(value, (float, np.floating)) and not np.isfinite(value):
        yield f"{where} is {value}"


def prints(given: dict, key: str) -> list:
    """Prints of an entry of obsm of the AnnData that were passed."""
    passed = [value for value in given.values() if isinstance(value, AnnData)]
    return [print_of(value.obsm[key]) for value in passed if key in value.obsm]


def wrong_result(call: Call, given: dict, result, before: dict, held: set) -> str | None:
    """Say what is wrong with a call that succeeded."""
    for name, value in given.items():
        if not isinstance(value, AnnData):
            continue
        gone = list(changes(before[name], print_of(value), name))
        writes = call.entry.name.startswith("tl.") and given.get("copy") is not True
        marks = ("genot", str(given.get("key_added")), "X_pca", "/pca", "growth_rate", "PCs")
        odd = [at for at in gone if not (writes and any(mark in at for mark in marks))]
        if odd:
            return f"changed the input: {odd[:3]}"
        if writes:
            new = {k: v for k, v in value.obsm.items() if k not in held}
            found = list(unfinished(new, name))
            if found:
                return found[0]
    if call.entry.name.startswith(("pl.", "get.")):
        return None
    made = getattr(result, "model", result)
    if isinstance(made, scgenot.Genot):
        result = dict(made.state_dict())
    # documented: NaN for rows of weights that are all zero, and for cells that are not finite
    is_nan = call.entry.name == "ot.sinkhorn_divergence" or "weights" in " ".join(call.kinds)
    if isinstance(result, AnnData):  # what came in not finite is the user's
        copied = {k for k, v in result.obsm.items() if print_of(v) in prints(given, k)}
        result = {"X": result.X, "obsm": {k: v for k, v in result.obsm.items() if k not in copied}}
    bad = [] if is_nan else list(unfinished(result))
    return bad[0] if bad else None


def wrong_error(call: Call, given: dict, error: Exception, before: dict) -> str | None:
    """Say what is wrong with an exception."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    at = f"{Path(last.filename).parent.name}/{Path(last.filename).name}:{last.lineno}"
    ours = [f for f in frames if f.filename.startswith(HOME)]
    where = f"{Path(ours[-1].filename).relative_to(HOME)}:{ours[-1].lineno}" if ours else "outside"
    text = f"{type(error).__name__} at {at} (from {where}): {str(error)[:160]}"
    if any(call.kinds[name] in FUNCTIONS and callable(given[name]) for name in call.kinds):
        return None  # a function of the user's own may raise what it likes
    if not isinstance(error, DOCUMENTED):
        return f"undocumented {text}"
    if not last.filename.startswith(HOME):
        return f"not ours: {text}"
    words = [*call.entry.arguments, "obs", "obsm", "uns", "layers", "var names", "X", "model"]
    is_path = isinstance(error, FileNotFoundError)  # names the file
    if not (is_path or any(word in str(error) for word in words)) or len(str(error)) < 20:
        return f"names nothing: {text}"
    for name, value in given.items():
        if isinstance(value, AnnData):
            gone = list(changes(before[name], print_of(value), name))
            new = list(changes(print_of(value), before[name], name))
            if gone or new:
                return f"changed {[*gone, *new][:3]} before {text}"
    return None


def judge(call: Call) -> tuple[str, str | None]:
    """Make a call: how it ended, and what is wrong with that."""
    given = arguments(call)
    adatas = {name: value for name, value in given.items() if isinstance(value, AnnData)}
    before = {name: print_of(value) for name, value in adatas.items()}
    held = {key for value in adatas.values() for key in value.obsm}
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(), mpl.rc_context():
            warnings.simplefilter("ignore")
            result = call.entry.call(**given)
        return "succeeded", wrong_result(call, given, result, before, held)
    except TooSlow:
        return "slow", "took too long"
    except Exception as error:  # noqa: BLE001
        return "refused", wrong_error(call, given, error, before)
    finally:
        signal.alarm(0)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def _stop(*_):
    raise TooSlow


def run(n: int, seed: int, *, say=None) -> tuple[Counter, list[tuple[str, str]]]:
    """Make calls: how many ended in which way, and the failures."""
    mpl.use("agg")
    signal.signal(signal.SIGALRM, _stop)
    ended, failures = Counter(), []
    for call in worlds.quietly(lambda: list(generated(n, seed))):
        how, wrong = judge(call)
        ended[how] += 1
        if wrong:
            failures.append((str(call), wrong))
            if say:
                say(f"{call}\n    {wrong}")
    return ended, failures


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory():
        ended, failures = run(asked.n, asked.seed, say=lambda line: print(line, flush=True))
    print(f"{asked.n} calls: {dict(ended)}; {len(failures)} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
