"""The model of a fit: made of what is stored, with parts of the user's that are found by name."""

import json
from collections.abc import Mapping
from os import PathLike

from scgenot._typed import check_type
from scgenot.fit.coupled import PAGE
from scgenot.model import (
    CloudFlow,
    Genot,
    MixtureBridge,
    ModelFileError,
    PopulationFlow,
    TransportMap,
)
from scgenot.model.files import digest, kind_of

# what reading something else than was written may end in
DAMAGE = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    OverflowError,
)
# models of this package, by the name of their class and by what their files are called
MODELS = {
    made.__name__: made for made in (CloudFlow, Genot, MixtureBridge, PopulationFlow, TransportMap)
}
FILES = {made.kind: made for made in (Genot, MixtureBridge, TransportMap)}
# classes of the user's that were fitted in this session, by name: a file never names code to
# import, so after a file they are passed to `sg.get.fit`
OWN: dict[str, object] = {}


def remember(kind: type) -> None:
    """Keep a class of the user's, so that verbs of the same session find it by name."""
    OWN[kind.__name__] = kind


def remember_parts(stored: Mapping, model, field, encoder) -> None:
    """Keep parts of the user's that were passed, so that the session finds them by name."""
    config = json.loads(str(stored["config"]))
    names = stored.get("type"), config.get("field"), config.get("encoder")
    for name, part in zip(names, (model, field, encoder), strict=True):
        if part is not None and isinstance(name, str):
            OWN[name] = part


def read_model(stored: Mapping, key: str, make=None, field=None, encoder=None):
    """Make the model of a fit; `make` is the class of one of the user's own."""
    try:
        config, weights = json.loads(str(stored["config"])), stored["weights"]
        check_type("config", config, Mapping)
        same = str(stored.get("digest")) in ("None", digest(weights))
    except DAMAGE as error:
        raise ModelFileError(f"the model of the fit is damaged ({error}): fit again.") from error
    kind = str(stored.get("type", "Genot"))
    make = make or MODELS.get(kind, OWN.get(kind))
    if make is None:
        raise ValueError(
            f"The fit `key={key!r}` has a model of your own, {kind}: read it once with "
            f"`sg.get.fit(adata, {key!r}, model={kind})`, and all functions find it. {PAGE}"
        )
    if make in MODELS.values() and not same:
        raise ModelFileError("the weights of the model are damaged: fit again.")
    if make is not Genot:
        return make.from_arrays(config, weights)
    parts = {"field": field, "encoder": encoder}
    for part, given in parts.items():
        name = config.get(part)
        if not isinstance(name, str) or not name or given is not None:
            continue
        if name not in OWN:
            raise ValueError(
                f"The fit `key={key!r}` has a part `{part}` of your own, {name}: read it once with "
                f"`sg.get.fit(adata, {key!r}, {part}={name})`, and all functions find it. {PAGE}"
            )
        parts[part] = OWN[name]
    return Genot.from_arrays(config, weights, **parts)


def load_model(model):
    """Return a model from a path, or the model itself."""
    if isinstance(model, (str, PathLike)):
        return FILES.get(kind_of(model), Genot).load(model)
    if not hasattr(model, "sample"):
        raise TypeError(
            f"`model` must be a Genot, a fit, an AnnData or a path; found {type(model).__name__}."
        )
    return model
