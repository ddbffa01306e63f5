"""Products of couplings in their own precision, whatever a session allows for networks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps

import torch


@contextmanager
def own_precision() -> Iterator[None]:
    """Compute without TF32, bfloat16 and autocast: a squared distance is a small difference."""
    products = torch.backends.cuda.matmul
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # set by the newer switch, which does not allow the older one beside it
        before, products.fp32_precision = products.fp32_precision, "ieee"
        newer = True
    else:
        torch.set_float32_matmul_precision("highest")
        newer = False
    # some releases warn of a device that is not there
    on_gpu = torch.autocast("cuda", enabled=False) if torch.cuda.is_available() else nullcontext()
    try:
        with on_gpu, torch.autocast("cpu", enabled=False):
            yield
    finally:
        if newer:
            products.fp32_precision = before
        else:
            torch.set_float32_matmul_precision(before)


def in_own_precision(function: Callable) -> Callable:
    """Let a function compute so, as a frame of scgenot, which warnings skip."""

    @wraps(function)
    def exact(*args, **options):
        with own_precision():
            return function(*args, **options)

    return exact
