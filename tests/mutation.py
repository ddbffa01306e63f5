"""Mutants of the arrays half, and which of them the fast tests kill.

    python tests/mutation.py --n 150 --seed 0 --jobs 2        (or `make mutants`)

A mutant is the package with one small fault. A random file of `ot`, `flow`, `model`, `course` and
`metrics` is chosen, then a random place of it, then one of the operators for that place:

=============  ==================================================================================
arithmetic     `+` and `-`, `*` and `/`, `//` and `*`, `**` to `*`, a sign is dropped
comparison     `<` to `<=` or `>`, `==` and `!=`, `is` and `is not`, `in` and `not in`
boolean        `and` and `or`, `&` and `|`, `not` and `~` are dropped
constant       a number is 1 more, 1 less or doubled; True and False; defaults of keywords too
min-max        `min` and `max`, `minimum` and `maximum`, `amin` and `amax`
call           a statement that is a call is removed
return         one operand of the returned expression, or two elements of a tuple swapped
slice          a bound of a slice is off by one
=============  ==================================================================================

Text is never changed (docstrings, messages, log lines, `__repr__`), nor are annotations,
decorators, `__all__`, what is raised or warned of, progress bars, `repr=` of fields, and `strict=`
of `zip`.

Each mutant is written to a temporary copy, never to the working tree, and the fast tests of the
folder that mirrors its file run there (`pytest -x -q -m "not slow" -p no:cacheprovider`), the
quickest first. First of all the tests run on the package as it is: that must pass, and says how
long each test takes and which functions it calls. Tests that do not call the function of a mutant
cannot kill it and are left out. A run that exceeds its time limit, five times that of its tests,
is a kill.

`--again` keeps the kills of the last run, `.mutants.json` (not committed), and repeats its
survivors.
The exit status is 1 when under 90 % were killed. `EXPLAINED` says of survivors why they may live.
"""

import argparse
import ast
import contextlib
import functools
import importlib
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".mutants.json"
TESTS = {
    "ot": ["tests/ot"],
    "flow": ["tests/flow", "tests/model"],
    "model": ["tests/model"],
    "course": ["tests/course"],
    "metrics": ["tests/test_metrics.py"],
}
HEAVY = (
    "numpy",
    "pandas",
    "ot",
    "safetensors.torch",
    "scipy",
    "sklearn.neighbors",
    "torch._dynamo",
)
HIDDEN = (ROOT, ROOT / "tests")
BAR = 0.9
MEMORY = 12 * 2**30  # bytes of address space: a mutant may ask for all there is

# (file, part of the changed line): why the tests need not tell it from the package
EXPLAINED = {
    ("distances.py", "_MEDIAN_CELLS ="): "how large the subset is that a bandwidth is read from",
    ("groups.py", "b[-1, j]"): "equivalent: `b` has one row there",
    ("inputs.py", "BLOCK"): "memory alone: values do not depend on the size of blocks",
    ("batches.py", "MAX_DISPLACEMENTS ="): "time alone: a mean over more displacements",
    (
        "train.py",
        "(1 + step) / (",
    ): "how soon the average forgets the first steps; any constant does",
    ("validation.py", "j[:0].to(draws.device), i[:0]"): "equivalent: both are empty",
    ("validation.py", "nonzero()[0 + 1:, 0]"): "one draw of 2**15 is not validated on",
    ("validation.py", "MAX_ENTRIES ="): "memory alone",
    ("field.py", "def __init__"): "default size of the network: a choice, not a law",
    ("diagnostics.py", "BLURRED_CELLS ="): "a rule of thumb for a warning",
    ("divergence.py", "max_iterations: int=9999"): "a default limit; tests stop far below it",
    ("dual.py", "levels.append(levels[-1] * "): "steps of annealing: the solution is the same",
    ("genot.py", "batch_size: int=4097"): "memory alone: draws do not depend on the batches",
    ("graph.py", "def median_hops"): "how many cells a median is estimated from",
    ("cost.py", "own = p[:, -1]"): "equivalent: `p` has one column",
    (
        "problem.py",
        "* epsilon, epsilon])",
    ): "steps of annealing in the search: the optimum is the same",
    ("graph.py", "directed=True"): "equivalent: the graph is symmetric",
    ("clock.py", "(w == 1) | (w == 1)"): "equivalent: the curve is exact at the start of a step",
    ("learner.py", "width: int="): "default size of the network: a choice, not a law",
    ("problem.py", "seed - 2 * self.options.rng"): "another seed",
    ("growth.py", "BATCH_SIZE, LEARNING_RATE ="): "a choice, not a law",
    ("store.py", "torch.full_like(x[:, -1]"): "equivalent: the shape alone is taken",
}

OPERATORS = {
    **{ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult]},
    **{ast.FloorDiv: [ast.Mult], ast.Pow: [ast.Mult], ast.Mod: [ast.Mult]},
    **{ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd]},
    **{ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.Gt]},
    **{ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.Lt]},
    **{ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is]},
    **{ast.In: [ast.NotIn], ast.NotIn: [ast.In], ast.And: [ast.Or], ast.Or: [ast.And]},
}
SWAPPED = {"min": "max", "minimum": "maximum", "amin": "amax"}
SWAPPED |= {new: old for old, new in SWAPPED.items()}
TOLD = {"warn", "warn_user", "debug", "info", "warning", "tqdm", "set_postfix"}


@dataclass(frozen=True)
class Mutant:
    """A file with one fault, and the outermost function it is in (None: the module or a class)."""

    file: str
    line: int
    operator: str
    function: str | None
    before: str
    after: str
    text: str


def replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the operator's name and the node to put in place of one."""
    copy = lambda **fields: type(node)(**{**vars(node), **fields})  # noqa: E731
    match node:
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            boolean = isinstance(node.op, ast.And | ast.Or | ast.BitAnd | ast.BitOr)
            for new in OPERATORS.get(type(node.op), ()):
                yield "boolean" if boolean else "arithmetic", copy(op=new())
        case ast.UnaryOp():
            sign = isinstance(node.op, ast.USub | ast.UAdd)
            yield "arithmetic" if sign else "boolean", node.operand
        case ast.Compare():
            for k, op in enumerate(node.ops):
                for new in OPERATORS[type(op)]:
                    yield "comparison", copy(ops=[*node.ops[:k], new(), *node.ops[k + 1 :]])
        case ast.Constant(value=bool()):
            yield "constant", ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            for new in dict.fromkeys([node.value + 1, node.value - 1, node.value * 2]):
                if new != node.value:
                    yield "constant", ast.Constant(new)
        case ast.Call(func=ast.Name(id=name)) if name in SWAPPED:
            yield "min-max", copy(func=ast.Name(SWAPPED[name], ast.Load()))
        case ast.Call(func=ast.Attribute(attr=name)) if name in SWAPPED:
            func = ast.Attribute(node.func.value, SWAPPED[name], ast.Load())
            yield "min-max", copy(func=func)
        case ast.Expr(value=ast.Call()):
            yield "call", ast.Pass()
        case ast.Return(value=ast.BinOp(left=first, right=second)):
            yield from (("return", ast.Return(value)) for value in (first, second))
        case ast.Return(value=ast.BoolOp(values=values)):
            yield from (("return", ast.Return(value)) for value in values)
        case ast.Return(value=ast.IfExp(body=first, orelse=second)):
            yield from (("return", ast.Return(value)) for value in (first, second))
        case ast.Return(value=ast.Tuple(elts=[first, second, *rest])):
            yield "return", ast.Return(ast.Tuple([second, first, *rest], ast.Load()))
        case ast.Slice():
            lower, one = node.lower or ast.Constant(0), ast.Constant(1)
            yield "slice", copy(lower=ast.BinOp(lower, ast.Add(), one))
            if node.upper is not None:
                yield "slice", copy(upper=ast.BinOp(node.upper, ast.Sub(), one))


def is_text(node: ast.AST) -> bool:
    """Whether a part of a file tells something and does nothing."""
    match node:
        case ast.Raise() | ast.JoinedStr():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in TOLD:
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="bar"))):
            return True
        case ast.Expr(value=value):
            return isinstance(value, ast.Constant) or is_text(value)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.FunctionDef(name="__repr__" | "__str__"):
            return True
        case ast.keyword(arg="strict" | "repr"):
            return True
    return False


def places(parent: ast.AST, names: tuple[str, ...] = (), function: str | None = None) -> Iterator:
    """Yield (function, parent, field, index or None, replacement options) of a tree."""
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for k, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST) or is_text(node):
                continue
            options = list(replacements(node))
            if options:
                yield function, parent, field, k if isinstance(value, list) else None, options
            inner, found = names, function
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                inner = (*names, node.name)
                if isinstance(node, ast.FunctionDef) and function is None:
                    found = ".".join(inner)
            yield from places(node, inner, found)


def mutants(n: int, seed: int) -> list[Mutant]:
    """Draw different mutants."""
    draw, found = random.Random(seed), {}
    files = sorted(path for folder in TESTS for path in (ROOT / "scgenot" / folder).rglob("*.py"))
    trees = {path: ast.parse(path.read_text()) for path in files}
    sites = {path: list(places(tree)) for path, tree in trees.items()}
    files = [path for path in files if sites[path]]
    while len(found) < n:
        path = draw.choice(files)
        function, parent, field, k, options = draw.choice(sites[path])
        operator, new = draw.choice(options)
        holder, key = (vars(parent), field) if k is None else (getattr(parent, field), k)
        old, before = holder[key], ast.unparse(trees[path])
        holder[key] = new
        text = ast.unparse(trees[path])
        holder[key] = old
        lines = zip(before.splitlines(), text.splitlines(), strict=False)
        line = next((pair for pair in lines if pair[0] != pair[1]), None)
        if line is not None:
            file, number = str(path.relative_to(ROOT)), getattr(old, "lineno", 0)
            was, now = (part.strip() for part in line)
            found.setdefault(text, Mutant(file, number, operator, function, was, now, text))
    return list(found.values())


class Recorder:
    """A plugin that records how long each test takes and which functions it calls."""

    def __init__(self, root: Path):
        self.root, self.seconds, self.calls, self.shared = root, {}, {}, {}

    def _record(self, calls: set) -> Iterator:
        """Collect the `file:function`s of the package that are entered."""
        codes = set()
        sys.settrace(lambda frame, event, arg: codes.add(frame.f_code))
        try:
            return (yield)
        finally:
            sys.settrace(None)
            for code in codes:
                if code.co_filename.startswith(f"{self.root}/scgenot/"):
                    file = Path(code.co_filename).relative_to(self.root)
                    calls.add(f"{file}:{code.co_qualname.partition('.<locals>')[0]}")

    # what is made for several tests counts for all of the file
    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        file = collector.nodeid.split("::")[0]
        return (yield from self._record(self.shared.setdefault(file, set())))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        file = item.nodeid.split("::")[0]
        return (yield from self._record(self.shared.setdefault(file, set())))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        start = time.perf_counter()
        result = yield from self._record(self.calls.setdefault(item.nodeid, set()))
        self.seconds[item.nodeid] = time.perf_counter() - start
        return result

    def pytest_sessionfinish(self):
        table = {
            test: [self.seconds.get(test), sorted(calls | self.shared[test.split("::")[0]])]
            for test, calls in self.calls.items()
        }
        (self.root / "table.json").write_text(json.dumps(table))


class Quickest:
    """A plugin that runs the tests given, in their order."""

    def __init__(self, tests: list[str]):
        self.rank = {test: k for k, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.rank]
        items.sort(key=lambda item: self.rank[item.nodeid])


def run_tests(copy: Path, arguments: list[str], plugin) -> None:
    """Run tests of a copy of the project in this process, and exit as pytest does."""
    os.setsid()  # what a test starts ends with it
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--rootdir", str(copy)]
    with (copy / "log").open("w", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        status = int(pytest.main([*options, *arguments], plugins=[plugin]))
    os._exit(status)


def copied(folder: Path) -> Path:
    """Copy what tests need of the project."""
    for name in ("scgenot", "tests"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    return folder


def run_all(jobs: int, tasks: Iterator[tuple], done) -> None:
    """Run (task, arguments, plugin maker, file and text, time limit), some at a time."""
    fork = multiprocessing.get_context("fork")
    running = {}
    tasks = iter(tasks)
    while True:
        while len(running) < jobs and (task := next(tasks, None)) is not None:
            name, arguments, plugin, change, limit = task
            copy = copied(Path(tempfile.mkdtemp(prefix="mutant-")))
            for file, text in change:
                (copy / file).write_text(text)
            process = fork.Process(target=run_tests, args=(copy, arguments, plugin(copy)))
            process.start()
            running[process.sentinel] = name, process, copy, time.monotonic(), limit
        if not running:
            return
        multiprocessing.connection.wait(list(running), timeout=1)
        for key, (name, process, copy, start, limit) in list(running.items()):
            seconds = time.monotonic() - start
            late = process.is_alive() and seconds > limit
            if process.is_alive() and not late:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
            done(name, copy, None if late else process.exitcode, seconds)
            shutil.rmtree(copy)
            del running[key]


def tables(jobs: int) -> dict[str, dict]:
    """Run the tests of the package as it is: seconds and functions called, of each test."""
    found = {}

    def done(path, copy, status, seconds):
        log = (copy / "log").read_text()
        if status != 0:
            sys.exit(f"{path} fails without a mutant:\n{log[-3000:]}")
        print(f"{path}: {log.splitlines()[-1]}", flush=True)
        found[path] = json.loads((copy / "table.json").read_text())

    paths = dict.fromkeys(path for group in TESTS.values() for path in group)
    run_all(jobs, ((path, [path], Recorder, [], 3600) for path in paths), done)
    return {
        folder: {test: row for path in group for test, row in found[path].items()}
        for folder, group in TESTS.items()
    }


def tests_of(mutant: Mutant, table: dict) -> tuple[list[str], float]:
    """Return the tests that can kill a mutant, the quickest first, and their seconds."""
    called = f"{mutant.file}:{mutant.function}"
    tests = [test for test in table if mutant.function is None or called in table[test][1]]
    return sorted(tests, key=lambda test: table[test][0]), sum(table[test][0] for test in tests)


def kill(chosen: list[Mutant], kept: list[dict], table: dict[str, dict], jobs: int) -> list[dict]:
    """Run the tests of each mutant without a result that is kept; return what became of all."""
    results = list(kept)
    known = {result["number"] for result in kept}

    def done(k, copy, status, seconds):
        log = (copy / "log").read_text()
        by = next((line for line in log.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
        survived = status in (0, 5)  # 5: no test calls it
        by = "SURVIVED" if survived else "time" if status is None else by or f"status {status}"
        result = {**asdict(chosen[k]), "survived": survived, "by": by, "seconds": seconds}
        results.append({"number": k, **result})
        m = chosen[k]
        print(
            f"{k:4} {seconds:5.0f} s  {m.file}:{m.line}  {m.operator}: {m.before[:70]}  ->  "
            f"{m.after[:70]}  {by[:90]}",
            flush=True,
        )
        RESULTS.write_text(json.dumps(results, indent=1))

    def tasks():
        for k, mutant in enumerate(chosen):
            if k in known:
                continue
            tests, seconds = tests_of(mutant, table[mutant.file.split("/")[1]])
            files = sorted({test.split("::")[0] for test in tests})
            # without a test nothing is to be run, and pytest says so
            arguments = files or ["--co", "tests/mutation.py"]
            quickest = functools.partial(_quickest, tests)
            yield k, arguments, quickest, [(mutant.file, mutant.text)], 60 + 5 * seconds

    run_all(jobs, tasks(), done)
    return sorted(results, key=lambda result: result["number"])


def _quickest(tests: list[str], copy: Path) -> Quickest:
    """Make the plugin for a copy of the project."""
    return Quickest(tests)


def explanation(result: dict) -> str | None:
    """Return why a survivor may live."""
    name = Path(result["file"]).name
    known = (
        why for (file, part), why in EXPLAINED.items() if file == name and part in result["after"]
    )
    return next(known, None)


def report(results: list[dict]) -> float:
    """Print a table of operators and the survivors; return the share that was killed."""
    print("\noperator     mutants  killed")
    for name in sorted({result["operator"] for result in results}):
        these = [result for result in results if result["operator"] == name]
        print(f"{name:12}{len(these):8}{sum(not result['survived'] for result in these):8}")
    survivors = [result for result in results if result["survived"]]
    for result in survivors:
        why = explanation(result)
        print(f"\n{result['file']}:{result['line']} ({result['operator']})")
        print(f"  - {result['before']}\n  + {result['after']}\n  {why or 'NOT EXPLAINED'}")
    killed = len(results) - len(survivors)
    told = sum(explanation(result) is not None for result in survivors)
    print(
        f"\nkilled {killed} of {len(results)} ({killed / len(results):.1%}); {told} of the "
        f"{len(survivors)} survivors are explained"
    )
    return killed / len(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=150, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--again", action="store_true", help="the last survivors alone")
    asked = parser.parse_args()
    chosen = mutants(asked.n, asked.seed)
    if asked.again:
        last = {(r["file"], r["before"], r["after"]): r for r in json.loads(RESULTS.read_text())}
        # those of the package as it was do not count
        old = {k: last.get((m.file, m.before, m.after)) for k, m in enumerate(chosen)}
        kept = [{**old[k], "number": k} for k in old if old[k] and not old[k]["survived"]]
    else:
        kept = []
    results = kill(chosen, kept, tables(asked.jobs), asked.jobs)
    sys.exit(report(results) < BAR)


def load() -> None:
    """Import once what every run needs: it starts as a copy of this process."""
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    # tests/ot is not POT, and the package is each copy's own
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in HIDDEN]
    for name in HEAVY:
        importlib.import_module(name)
    if "scgenot" in sys.modules:
        sys.exit("scgenot was imported before its copies")


if __name__ == "__main__":
    load()
    main()
