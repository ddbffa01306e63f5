"""Where public data sets come from: a folder of the user, or the published files."""

import os
from dataclasses import dataclass
from pathlib import Path

from anndata import AnnData, read_h5ad

from scgenot._settings import somebody_looks

FOLDER = "SCGENOT_DATA"  # environment variable that names the folder


@dataclass(frozen=True)
class Originals:
    """Published files of a data set."""

    address: str
    sha256: dict[str, str]


def prepared(*names: str) -> list[AnnData] | None:
    """Read files such as `"klein_mesc/klein_mesc"` from `SCGENOT_DATA`; None without them."""
    folder = os.environ.get(FOLDER)
    files = [Path(folder, f"{name}.h5ad") for name in names] if folder else []
    if not files or not all(file.is_file() for file in files):
        return None
    return [read_h5ad(file) for file in files]


def fetch(originals: Originals, *names: str, progress: bool) -> list[Path]:
    """Find the published files in the cache or download them; `names` as in :func:`prepared`."""
    import pooch

    cache, files, bar = pooch.os_cache("scgenot"), [], progress and somebody_looks()
    for file, sha256 in originals.sha256.items():
        url = f"{originals.address}/{file}"
        try:
            found = pooch.retrieve(url, f"sha256:{sha256}", path=cache, progressbar=bar)
            files.append(Path(found))
        except OSError as error:  # requests raises it too: no network, no such host, not found
            folder = os.environ.get(FOLDER)
            raise FileNotFoundError(
                (f"{_files(names)} not in {FOLDER}={folder}, and " if folder else "")
                + f"{url} (SHA-256 {sha256}) is not in the cache {cache} and could not be "
                f"downloaded ({type(error).__name__}). Try again with a network, or set {FOLDER} "
                f"to a folder with {_files(names)}, written by `write_h5ad` from what this loader "
                f"returns elsewhere. Cause: {error}"
            ) from error
    return files


def only_prepared(name: str, reason: str) -> AnnData:
    """Read a data set that cannot be downloaded; `reason` is a sentence that says why."""
    found = prepared(name)
    if found is None:
        folder = os.environ.get(FOLDER)
        state = f"is not in {folder}" if folder else f"was not found: {FOLDER} is not set"
        raise FileNotFoundError(
            f"{_files([name])} {state}. Set {FOLDER} to the folder that has it. {reason}"
        )
    return found[0]


def _files(names) -> str:
    return " and ".join(f"{name}.h5ad" for name in names)
