"""A model as JSON-able values and arrays, and back: nothing there is run.

What is read may be damaged: names are looked up in fixed tables, and sizes are compared with the
shapes of the arrays before anything of those sizes is made.
"""

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._check import usable_device
from scgenot.flow.condition import SetEncoder
from scgenot.model.files import FORMAT, ModelFileError
from scgenot.model.student import Distilled

SIZES = ("source_dim", "target_dim", "condition_dim", "width", "depth")
EXTRAPOLATION = {"n_conditions", "n_groups", "n_reference"}
ENCODER_SIZES = ("n_slots", "token_dim", "n_further", "width")
MAX_SIZE = 2**31


def take_apart(model) -> tuple[dict, dict[str, np.ndarray]]:
    """Turn a :class:`~scgenot.Genot` into configuration and weights."""
    encoder = getattr(model.field, "encoder", None)
    usual = isinstance(encoder, SetEncoder)
    custom = None if encoder is None else type(encoder).__name__
    config = {
        "format": FORMAT,
        **{name: getattr(model, name) for name in SIZES},
        "field": type(model.field).__name__ if model.custom_field else None,
        "encoder": {name: getattr(encoder, name) for name in ENCODER_SIZES} if usual else custom,
        "displacement": model.displacement,
        "condition_dropout": model.condition_dropout,
        "growth": model.eta is not None,
    }
    if model.distilled is not None:
        config["distilled"] = vars(model.distilled)
    if model.extrapolation is not None:
        config["extrapolation"] = model.extrapolation.sizes
    if model.strengths is not None:
        config["strengths"] = len(model.strengths)
    return config, {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def put_together(make, config: Mapping, arrays: Mapping, *, field, encoder, device):
    """Make a model of what :func:`take_apart` returned; `make` is the class."""
    sizes = _check_config(config)
    if (config["field"] is not None) != (field is not None):
        raise ValueError(
            "This model has the default velocity field: omit `field`."
            if field is not None
            else f"This model was made with a custom field of class {config['field']!r}: pass the "
            f"same class or function as `field`, such as `field={config['field']}`."
        )
    if isinstance(config["encoder"], str) and encoder is None:
        raise ValueError(
            f"This model was made with a custom encoder of class {config['encoder']!r}: pass the "
            f"same class or function as `encoder`, such as `encoder={config['encoder']}`."
        )
    device = "cpu" if device is None else usable_device(device)
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    distilled = _distilled(config, arrays)
    _check_sizes(sizes, config, arrays)

    def build():
        made = encoder
        if made is None and config["encoder"]:
            made = SetEncoder(**config["encoder"])
        elif made is not None and not isinstance(made, nn.Module):
            made = made(sizes["condition_dim"] + (config["condition_dropout"] > 0))
        told = {name: config[name] for name in ("displacement", "condition_dropout")}
        model = make(**sizes, **told, field=field, encoder=made)
        if config["growth"]:
            model.add_growth()
        if "extrapolation" in config and config["displacement"]:
            model.add_extrapolation(**config["extrapolation"])
        if "strengths" in config:
            model.add_strengths(config["strengths"])
        if distilled is not None:
            model.add_student(distilled, torch.zeros(arrays["student_conditions"].shape))
        return model.to(getattr(torch, str(arrays["units.source.mean"].dtype)))

    # initial weights are made and replaced: the user's generator stays
    with torch.random.fork_rng(devices=[]):
        if field is None:
            try:
                with torch.device("meta"):
                    shape = build()
            except (RuntimeError, TypeError, ValueError, OverflowError) as error:
                raise ModelFileError(f"The model's sizes {sizes} are impossible.") from error
            check_weights(arrays, shape.state_dict(), "the model")
        model = build()
    check_weights(arrays, model.state_dict(), "the model")
    model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    if model.extrapolation is not None:
        try:
            model.extrapolation.check()
        except ValueError as error:
            raise ModelFileError(f"The model is damaged: {error}") from error
    return model.to(device).eval()


def _check_config(config: Mapping) -> dict[str, int]:
    """Return the sizes of a model, once every value of its configuration has the right type."""
    names = {"format", *SIZES, "field", "encoder", "displacement", "condition_dropout", "growth"}
    if not isinstance(config, Mapping) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, Mapping) else None
        raise ModelFileError(
            f"The model has format {found!r}, this version of scgenot reads format {FORMAT}: "
            "fit and save the model again."
        )
    encoder, dropout = config.get("encoder"), config.get("condition_dropout")
    sizes = {name: config.get(name) for name in SIZES}
    encoder_sizes = encoder if isinstance(encoder, Mapping) else dict.fromkeys(ENCODER_SIZES, 0)
    right = {
        "names": set(config) - {"distilled", "extrapolation", "strengths"} == names,
        "strengths": "strengths" not in config or has_strengths(config),
        "extrapolation": _are_counts(config.get("extrapolation", dict.fromkeys(EXTRAPOLATION, 1))),
        **{name: is_size(value) for name, value in sizes.items()},
        "field": config.get("field") is None or isinstance(config["field"], str),
        "encoder": encoder is None or isinstance(encoder, str) or encoder is encoder_sizes,
        **{f"encoder {name}": is_size(value) for name, value in encoder_sizes.items()},
        "encoder names": set(encoder_sizes) == set(ENCODER_SIZES),
        "displacement": isinstance(config.get("displacement"), bool),
        "condition_dropout": isinstance(dropout, (int, float)) and 0 <= dropout < 1,
        "growth": isinstance(config.get("growth"), bool),
    }
    wrong = [name for name, is_right in right.items() if not is_right]
    if wrong:
        raise ModelFileError(f"The model's configuration is damaged: see {', '.join(wrong)}.")
    return sizes


def _distilled(config: Mapping, arrays: Mapping) -> Distilled | None:
    """Return what is said of a distilled sampler, once it and its teacher are there."""
    if config.get("distilled") is None:
        return None
    for name, what in {"field.": "its teacher", "student_conditions": "its conditions"}.items():
        if not any(key.startswith(name) for key in arrays):
            raise ModelFileError(
                f"The model has a distilled sampler without {what} ({name!r} is lacking among its "
                "arrays): save the model again as a whole."
            )
    try:
        return Distilled(**config["distilled"])
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"The model's distilled sampler is damaged: {error}") from error


def is_size(value: object) -> bool:
    """Whether a value can be the size of something."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_SIZE


def has_strengths(config: Mapping) -> bool:
    """Whether the number of fitted strengths is one, of a set encoder."""
    n = config["strengths"]
    return is_size(n) and n > 1 and isinstance(config["encoder"], Mapping)


def _are_counts(found: object) -> bool:
    """Whether a configuration gives the sizes of a linear extrapolation."""
    named = isinstance(found, Mapping) and set(found) == EXTRAPOLATION
    return named and all(is_size(value) and value for value in found.values())


def _check_sizes(sizes: Mapping[str, int], config: Mapping, arrays: Mapping) -> None:
    """Compare sizes with arrays, as far as a model of those sizes could be large."""
    for side in ("source", "target"):
        mean = arrays.get(f"units.{side}.mean")
        if mean is None or mean.dtype.name not in ("float32", "float64"):
            raise ModelFileError(f"The model has no array 'units.{side}.mean' of float numbers.")
        _same(f"{side}_dim", sizes[f"{side}_dim"], mean.size)
    if "extrapolation" in config:
        said = config["extrapolation"]
        shapes = {"shift": (said["n_conditions"], sizes["target_dim"])}
        shapes["near.member"] = said["n_groups"], said["n_reference"]
        for name, shape in shapes.items():
            found = np.shape(arrays.get(f"extrapolation.{name}", ()))
            _same(f"extrapolation.{name}", shape, found)
    if "strengths" in config:
        _same("strengths", (config["strengths"],), np.shape(arrays.get("strengths", ())))
    if config["field"] is None:
        depth = len({name.split(".")[2] for name in arrays if name.startswith("field.blocks.")})
        _same("depth", sizes["depth"], depth)
    elif sizes["condition_dim"] > sum(array.size for array in arrays.values()):
        raise ModelFileError(f"The model is too small for {sizes['condition_dim']} conditions.")
    if isinstance(config["encoder"], Mapping):
        encoder = config["encoder"]
        n_slots, n_further = encoder["n_slots"], encoder["n_further"]
        shown = sizes["condition_dim"] + (config["condition_dropout"] > 0)
        _same("condition_dim", shown, n_slots * (1 + encoder["token_dim"]) + n_further)


def _same(name: str, said: object, found: object) -> None:
    """Refuse a size that is not the one found in the arrays."""
    if said != found:
        raise ModelFileError(f"The model's `{name}` is {said}, its arrays have {found}.")


def check_weights(found: Mapping, expected: Mapping[str, Tensor], what: str) -> None:
    """Refuse arrays or tensors whose names, shapes, types or values cannot be those of a model."""
    odd = sorted(set(found) ^ set(expected))
    if odd:
        raise ModelFileError(
            f"The arrays of {what} do not match: {odd[0]!r} is missing or invalid."
        )
    for name, like in expected.items():
        value = found[name]
        shapes, dtypes = (tuple(value.shape), tuple(like.shape)), (value.dtype, like.dtype)
        dtypes = tuple(str(dtype).removeprefix("torch.") for dtype in dtypes)
        if shapes[0] != shapes[1] or dtypes[0] != dtypes[1]:
            raise ModelFileError(
                f"The array {name!r} of {what} has shape {shapes[0]} and type {dtypes[0]}, "
                f"expected {shapes[1]} and {dtypes[1]}."
            )
        check_values(name, torch.as_tensor(value), what)


def check_values(name: str, value: Tensor, what: str) -> None:
    """Refuse values that are not finite, and scales that are not positive."""
    if not value.isfinite().all():
        raise ModelFileError(f"The array {name!r} of {what} has values that are not finite.")
    if re.fullmatch(r"units\.\w+\.std", name) and not (value > 0).all():
        raise ModelFileError(f"The array {name!r} of {what} has scales that are not positive.")
    if name == "strengths" and not (value.diff() > 0).all():
        raise ModelFileError(f"The array {name!r} of {what} does not increase.")
