"""Where to compute."""

import torch


def best_device() -> str:
    """Return "cuda" when there is one, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_device(device: str | torch.device | None) -> str | torch.device:
    """Return a device to compute on."""
    if device is None:
        return best_device()
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"`device={device!r}` cannot be used here ({reason}); 'cpu' always can, None takes CUDA where there is one."
        ) from error
    return device
