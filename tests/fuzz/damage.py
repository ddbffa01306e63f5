"""Damaged model files and entries of `uns`: `python tests/fuzz/damage.py --n 500 --seed 0`."""

import argparse
import json
import struct
import sys
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from safetensors.numpy import load_file, save_file
from scipy import sparse

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
import scgenot as sg
from fuzz import worlds
from fuzz.calls import print_of
from scgenot.model import ModelFileError, TrainState

REFUSED = (ModelFileError, ValueError, KeyError)
MOST_BYTES, MOST_SECONDS = 300 * 2**20, 30.0


def metadata_of(path: Path) -> dict:
    """The header of a safetensors file, without its tensors."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + size])["__metadata__"]


def raw_damage(raw: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Damage the bytes of a file."""
    kind = str(rng.choice(["flip", "header flip", "cut", "longer", "length", "zeros"]))
    out, at = bytearray(raw), int(rng.integers(len(raw)))
    (size,) = struct.unpack("<Q", raw[:8])
    if kind == "flip":
        out[at] ^= 1 << int(rng.integers(8))
    elif kind == "header flip":
        out[8 + int(rng.integers(size))] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        out = out[:at]
    elif kind == "longer":
        out += bytes(rng.integers(0, 256, 40, dtype=np.uint8))
    elif kind == "length":
        out[:8] = struct.pack("<Q", int(rng.choice([0, 1, 2**40, 2**63, size + 1])))
    else:
        out[at : at + 64] = bytes(min(64, len(raw) - at))
    return kind, bytes(out)


VALUES = [
    None, True, -1, 0, 2, 10**9, 2**62, 10**400, 1.5, -0.5, "text", "", [], [1], {}, {"a": 1},
    "SetEncoder", {"n_slots": 10**8, "token_dim": 10**8, "n_further": 1, "width": 10**8},
]  # fmt: skip


def part_damage(path: Path, out: Path, rng: np.random.Generator) -> str:
    """Write a file that is well formed, with tensors or a configuration that are not."""
    arrays, meta = load_file(path), metadata_of(path)
    config = json.loads(meta["config"])
    name = str(rng.choice(sorted(arrays)))
    array = arrays[name]
    kind = str(rng.choice([*ARRAYS, "config", "config", "lacking config", "kind", "swapped"]))
    if path.stem == "state" and name.startswith(("moments", "best")) and kind == "no":
        kind = "NaN in"  # a state may be without them
    if kind in ARRAYS:
        changed = ARRAYS[kind](array)
        arrays[name] = np.ascontiguousarray(changed) if changed is not None else array
        if changed is None:
            del arrays[name]
    elif kind == "config":
        entry = str(rng.choice(sorted(config)))
        config[entry] = VALUES[int(rng.integers(len(VALUES)))]
        name = f"{entry}={config[entry]!r}"
    elif kind == "lacking config":
        name = str(rng.choice(sorted(config)))
        del config[name]
    elif kind == "kind":
        meta["kind"] = "something"
    else:
        other = str(rng.choice(sorted(arrays)))
        arrays[name], arrays[other] = arrays[other], arrays[name]
        name = f"{name} and {other}"
    if rng.integers(8) == 0:
        arrays["additional"] = np.ones(3, np.float32)
        kind += " and one more"
    known = {"digest": meta["digest"]} if rng.integers(2) else {}
    save_file(arrays, out, {"kind": meta["kind"], "config": json.dumps(config), **known})
    if not known and kind.split(" and ")[0] in ("swapped", "config"):
        kind += " in silence"
    return f"{kind} {name[:60]}"


def _with(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Set the first number."""

    def changed(array: np.ndarray) -> np.ndarray:
        array = np.array(array)
        if array.size and array.dtype.kind == "f":
            array.flat[0] = value
        return array

    return changed


ARRAYS = {
    "no": lambda _: None,
    "NaN in": _with(np.nan),
    "inf in": _with(np.inf),
    "wide": lambda a: np.concatenate([a, a], -1) if a.ndim else np.stack([a, a]),
    "cube": lambda a: a[None],
    "short": lambda a: a[:-1] if a.ndim and len(a) > 1 else a[None],
    "empty": lambda a: a.reshape(-1)[:0],
    "double": lambda a: a.astype(np.float64) if a.dtype != np.float64 else a.astype(np.float32),
    "half": lambda a: a.astype(np.float16),
    "integer": lambda a: np.zeros(a.shape, dtype=np.int64),
    "bytes": lambda a: np.zeros(a.shape, dtype=np.uint8),
}


def drawn(model: sg.Genot) -> np.ndarray:
    """What a model samples."""
    cells = np.asarray(worlds.source().obsm["X_pca"])[:5]
    return np.asarray(model.sample(cells, n_samples=2, integrator=sg.flow.ODE(steps=2)))


def files(n: int, rng: np.random.Generator) -> Iterator[tuple[str, str | None]]:
    """Damage files of a model and of a training state, and read them."""
    readers = [
        (worlds.model_file(), lambda path: drawn(sg.Genot.load(path)).tobytes()),
        (worlds.state_file(), lambda path: print_of(vars(TrainState.load(path)))),
    ]
    right = [read(path) for path, read in readers]
    raw = [path.read_bytes() for path, _ in readers]
    out = worlds.folder() / "damaged.safetensors"
    for _ in range(n):
        which = int(rng.integers(3) == 0)
        path, read = readers[which]
        if rng.integers(2):
            what, changed = raw_damage(raw[which], rng)
            out.write_bytes(changed)
        else:
            what = part_damage(path, out, rng)
        # who makes a file of other weights himself gets them
        silent = "in silence" in what
        what = f"{path.stem}: {what}"
        yield what, outcome(lambda read=read: read(out), right[which], ("",), silent=silent)


def paths(entry, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every place in nested dictionaries, tables column by column."""
    if where:
        yield where
    if isinstance(entry, (dict, pd.DataFrame)):
        for name in entry:
            yield from paths(entry[name], (*where, str(name)))


REMOVED = object()
OTHERS = [
    REMOVED, None, "text", 1, -1, np.nan, True, [], {}, np.array([]), np.array(["a", "b"]),
    np.full(3, np.nan), sparse.csr_matrix(np.eye(2)), pd.DataFrame({"a": [1.0]}), 10**12,
]  # fmt: skip


def variants(value) -> list:
    """What may stand in the place of an entry."""
    own = []
    if isinstance(value, (np.ndarray, pd.Series)) and len(value):
        array = np.asarray(value)
        own = [array[:-1], np.concatenate([array, array]), array[None], array.astype(str)]
        if array.dtype.kind == "f":
            own += [array * np.nan, array * np.inf, array.astype(np.float16), -array]
        else:
            own += [np.array([f"new {i}" for i in range(len(array))])]
    if isinstance(value, pd.DataFrame):
        own = [value.iloc[:-1], value.iloc[:0], pd.concat([value, value])]
    if sparse.issparse(value):
        broken = value.copy()
        broken.indices[0] = 10**6
        own = [value[:-1], value[:, :-1], value * np.nan, broken, value.toarray()]
    if isinstance(value, str):
        own = [value + " odd", value[:-1], "{}", "null"]
    return OTHERS + own


def damaged(adata: AnnData, where: tuple[str, ...], value) -> AnnData:
    """Copy cells, with another value at a place of `uns`."""
    adata = adata.copy()
    home = adata.uns
    for name in where[:-1]:
        home = home[name]
    if isinstance(home, pd.DataFrame) and value is not REMOVED:
        whole = isinstance(value, (np.ndarray, pd.Series)) and np.shape(value) == (len(home),)
        home[where[-1]] = value if whole else pd.Series([value] * len(home), home.index)
    elif value is not REMOVED:
        home[where[-1]] = value
    else:
        del home[where[-1]]
    return adata


def verbs() -> list[tuple[str, Callable[[], AnnData], Callable[[AnnData], object]]]:
    """What reads the fits of each task, all that it holds."""
    options = {"device": "cpu", "copy": True}

    def course(adata: AnnData):
        pushed = sg.tl.push(adata, "T", groupby="type", **options).obs["genot_push"]
        predicted = sg.tl.predict(adata, n_samples=2, progress=False, **options)
        return [
            print_of(x)
            for x in (
                pushed, predicted.obsm["X_genot"], sg.tl.coupling(adata, **options).obsp,
                sg.get.params(adata)["solver"], len(sg.get.fit(adata).history),
            )
        ]  # fmt: skip

    def screen(adata: AnnData):
        held = np.arange(adata.n_obs) % 4 >= 2
        made = sg.tl.simulate(adata, "A", dose=1.0, progress=False, device="cpu")
        counted = sg.tl.coverage(adata, held_out=held, device="cpu")
        return [print_of(x) for x in (made.X, made.obs, counted)]

    def source(adata: AnnData):
        predicted = sg.tl.predict(adata, n_samples=2, progress=False, **options)
        coupled = sg.tl.coupling(adata, **options)
        return [print_of(x) for x in (predicted.obsm["X_genot"], coupled.obsm["genot_coupling"])]

    worlds_and_verbs = (worlds.course, course), (worlds.screen, screen), (worlds.source, source)
    return [(world.__name__, world, verb) for world, verb in worlds_and_verbs]


def entries(n: int, rng: np.random.Generator) -> Iterator[tuple[str, str | None]]:
    """Damage entries of `uns`: each place before any a second time."""
    table, places = verbs(), []
    right = {name: worlds.quietly(verb, world()) for name, world, verb in table}
    for k, (_, world, _) in enumerate(table):
        uns = {key: world().uns[key] for key in ("genot", "pca")}
        places += [(k, where) for where in paths(uns)]
    order = [i for _ in range(1 + n // len(places)) for i in rng.permutation(len(places))]
    for i in order[:n]:
        k, where = places[i]
        name, world, verb = table[k]
        held = world().uns
        for step in where:
            held = held[step]
        found = variants(held)
        j = int(rng.integers(len(found)))
        value = found[j]
        shown = "removed" if value is REMOVED else repr(value)[:50].replace("\n", " ")
        words = ("uns", "damaged", "fit", "plan", "model", "key", "embedding", *where)
        adata = damaged(world(), where, value)
        same = print_of(adata)
        result = outcome(lambda v=verb, a=adata: v(a), right[name], words, silent=free(where))
        if result is None and print_of(adata) != same:
            result = "changed the input"
        yield f"{name}: {'/'.join(where)} = {shown}", result


def free(where: tuple[str, ...]) -> bool:
    """Whether an entry is a number or label in whose place another could as well be right."""
    return "weights" not in where and bool(set(where) & FREE)


# other values of these are other fits, or are reported and nothing else
FREE = {
    "params", "history", "pairs", "potential", "target", "target_weights", "epsilon",
    "tau", "cost", "source_weights", "mass", "outcomes", "confidence", "reference",
    "loadings", "offset",
    "mean", "scale", "calibration", "calibration_features", "calibration_names", "written",
}  # fmt: skip


def outcome(read: Callable, right, words: tuple[str, ...], *, silent: bool) -> str | None:
    """Read something damaged; say what is wrong with how that ended."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read()
        result = None if silent or found == right else "other numbers in silence"
    except REFUSED as error:
        named = any(word in str(error) for word in words)
        result = None if named else f"names nothing: {type(error).__name__}: {error}"[:200]
    except Exception as error:  # noqa: BLE001
        frame = error.__traceback__
        while frame.tb_next is not None:
            frame = frame.tb_next
        at = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
        result = f"undocumented {type(error).__name__} at {at}: {error}"[:200]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if most > MOST_BYTES:
        return f"took {most / 2**20:.0f} MiB"
    return "took long" if time.perf_counter() - start > MOST_SECONDS else result


def run(n: int, seed: int, *, say=None) -> tuple[Counter, list[tuple[str, str]]]:
    """Damage things: how many of each kind, and the failures."""
    rng, made, failures = np.random.default_rng(seed), Counter(), []
    for kind, each in (("files", files(n // 2, rng)), ("entries", entries(n - n // 2, rng))):
        for what, wrong in each:
            made[kind] += 1
            if wrong:
                failures.append((what, wrong))
                if say:
                    say(f"{what}\n    {wrong}")
    return made, failures


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    made, failures = run(asked.n, asked.seed, say=lambda line: print(line, flush=True))
    print(f"{dict(made)} damaged; {len(failures)} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
