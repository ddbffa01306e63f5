"""Writes cells to a zarr folder by shards; an interrupted write can be continued."""

import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from anndata import AnnData
from anndata.io import write_elem

SUFFIX, PARTIAL, OLD = ".zarr", ".partial", ".old"
PROGRESS = "progress.json"
MAX_VALUES = 2**20  # of a chunk: 4 MB in single precision
MOST_ROWS = 4096  # of a chunk
CHUNKS = 16  # of a shard, which is a file
ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}  # AnnData's name of it


class Store:
    """Arrays with one row per cell, written from the first row to the last.

    The name of the folder is `out` + ".partial" until the last row is written, so that `out` exists
    only when it is complete. A second call with the same digest continues after the last shard that
    was written.

    Parameters
    ----------
    out
        Folder to create.
    widths
        Number of columns of each array by its location in AnnData, such as `{"X": 2000,
        "obs/growth": 0}`; 0 for a vector.
    n_rows
        Number of cells.
    work
        Digest of everything that determines the values.
    overwrite
        Whether to replace an existing store once the new one is complete.
    """

    def __init__(
        self, out: str | Path, widths: Mapping[str, int], n_rows: int, work: str, *, overwrite: bool
    ):
        self.out, self.widths, self.n_rows = check_out(out, overwrite=overwrite), widths, n_rows
        self.partial = self.out.with_name(self.out.name + PARTIAL)
        self.chunk = max(1, min(MAX_VALUES // max(1, *widths.values()), MOST_ROWS))
        self.shard = CHUNKS * self.chunk
        self.work = {"work": work, "rows": n_rows, "shard": self.shard, "arrays": dict(widths)}
        self.done = self._rows_done(overwrite=overwrite)
        self.arrays, self.buffer = {}, {}

    def open(self, cells: AnnData) -> None:
        """Write everything except the arrays, if not done; `cells` has obs, var and uns."""
        zarr = _zarr()
        if not self.done:
            with self._told(), _quiet():
                shutil.rmtree(self.partial, ignore_errors=True)
                cells.strings_to_categoricals()
                group = zarr.open_group(self.partial, mode="w", zarr_format=3)
                self._write_annotations(group, cells)
                self._make_arrays(zarr.open_group(self.partial, mode="r+"))
                self._note()
        group = zarr.open_group(self.partial, mode="r+")
        self.arrays = {name: group[name] for name in self.widths}
        for name in self.widths:
            self.buffer[name] = np.full((self.shard, *self._tail(name)), np.nan, np.float32)

    def _write_annotations(self, group, cells: AnnData) -> None:
        """Write obs, var and uns; say of a column that zarr cannot hold what to do."""
        try:
            write_elem(group, "/", cells)
        except OSError:
            raise
        except Exception as error:
            shutil.rmtree(self.partial, ignore_errors=True)
            where = " ".join(getattr(error, "__notes__", ()))
            raise TypeError(
                f"`out={str(self.out)!r}`: annotations of the cells cannot be written ({error}. "
                f"{where}): convert them, to text for example, or remove them."
            ) from error

    def put(self, rows: np.ndarray, blocks: Mapping[str, np.ndarray]) -> None:
        """Add rows of each array, in ascending order; complete shards are written."""
        shards = rows // self.shard
        for k in np.unique(shards):
            while self.done < k * self.shard:
                self._flush()
            own = shards == k
            for name, values in blocks.items():
                self.buffer[name][rows[own] - self.done] = values[own]

    def finish(self) -> None:
        """Rename the complete folder."""
        while self.done < self.n_rows:
            self._flush()
        zarr, old = _zarr(), self.out.with_name(self.out.name + OLD)
        with self._told(), _quiet():
            zarr.consolidate_metadata(self.partial)
            if self.out.exists():
                shutil.rmtree(old, ignore_errors=True)
                self.out.replace(old)
            self.partial.replace(self.out)
            (self.out / PROGRESS).unlink()
            shutil.rmtree(old, ignore_errors=True)

    def _tail(self, name: str) -> tuple[int, ...]:
        """Shape of an array without its rows."""
        return (self.widths[name],) if self.widths[name] else ()

    def _make_arrays(self, group) -> None:
        """Create the arrays; rows that are not written are NaN and not plausible numbers."""
        for name in self.widths:
            place, _, own = name.rpartition("/")
            parent, tail = group[place] if place else group, self._tail(name)
            parent.create_array(
                own,
                shape=(self.n_rows, *tail),
                chunks=(self.chunk, *tail),
                shards=(self.shard, *tail),
                dtype="float32",
                fill_value=np.nan,
                attributes=ARRAY,
                config={"write_empty_chunks": True},
            )
            if place == "obs":
                parent.attrs["column-order"] = [*parent.attrs["column-order"], own]

    def _flush(self) -> None:
        """Write a shard; rows that were not added remain NaN."""
        rows = slice(self.done, min(self.done + self.shard, self.n_rows))
        with self._told():
            for name, array in self.arrays.items():
                array[rows] = self.buffer[name][: rows.stop - rows.start]
            self.done = rows.stop
            self._note()
        for values in self.buffer.values():
            values.fill(np.nan)

    def _note(self) -> None:
        """Store the number of rows in one step: a killed process leaves the previous number."""
        path = self.partial / PROGRESS
        new = path.with_suffix(".new")
        new.write_text(json.dumps({**self.work, "done": self.done}))
        new.replace(path)

    def _rows_done(self, *, overwrite: bool) -> int:
        """Number of rows of an earlier call with the same digest; raise for another digest."""
        if not self.partial.exists():
            return 0
        try:
            noted = json.loads((self.partial / PROGRESS).read_text())
        except (OSError, ValueError):
            noted = {}  # it ended before the first row
        done = noted.pop("done", 0)
        if not done or (noted != self.work and overwrite):
            return 0
        where = f"{str(self.partial)!r}, left by an interrupted call,"
        if noted != self.work:
            raise ValueError(
                f"{where} belongs to other cells, another fit or other options: repeat that call "
                "to continue it. To start again, pass `overwrite=True` or remove the folder."
            )
        if not self._are_there(done):
            if overwrite:
                return 0
            raise ValueError(
                f"{where} is incomplete: values of its first {done} cells are missing or damaged. "
                "To start again, pass `overwrite=True` or remove the folder."
            )
        return done

    def _are_there(self, done: int) -> bool:
        """Whether the files of all stored rows exist, and the last row can be read."""
        try:
            group = _zarr().open_group(self.partial, mode="r")
            for name in self.widths:
                for k in range(-(-done // self.shard)):
                    place = self.partial / name / "c" / str(k)
                    if not (place / "0" if self.widths[name] else place).is_file():
                        return False
                group[name][done - 1]
        except Exception:  # noqa: BLE001 - zarr raises many kinds for files that are damaged
            return False
        return True

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Add to an error of the file system what is kept and how to continue."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"`out={str(self.out)!r}` could not be written ({error.strerror or error}). "
                f"{self.done} of {self.n_rows} cells are kept in {str(self.partial)!r}. Free disk "
                "space or correct the permissions, and repeat the call to continue",
            ) from error


def check_out(out: str | Path, *, overwrite: bool) -> Path:
    """Return the folder to create; raise if it exists or cannot be created."""
    path, shown = Path(out), f"`out={str(out)!r}`"
    if path.suffix != SUFFIX or path.name == SUFFIX:
        raise ValueError(f"{shown} must end in '.zarr': the result is a zarr folder.")
    path = path.absolute()
    if not path.parent.is_dir():
        raise ValueError(f"The folder of {shown} does not exist: create it first.")
    if path.exists() and not overwrite:
        raise ValueError(f"{shown} exists: choose another name, or pass `overwrite=True`.")
    if path.exists() and not any((path / name).is_file() for name in ("zarr.json", ".zgroup")):
        raise ValueError(f"{shown} exists and is not a zarr folder: choose another name.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"The folder of {shown} is not writable: choose another.")
    return path


def _zarr():
    """Import zarr, of a release that has shards."""
    import zarr

    if int(zarr.__version__.partition(".")[0]) < 3:
        raise ImportError(
            f"`out` needs zarr 3, found {zarr.__version__}: run `pip install 'zarr>=3.1'`."
        )
    return zarr


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence notes on defaults of later releases of AnnData and zarr: all are explicit here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
