"""Row sums of a kernel whose costs are never stored: one pass of a GPU over both populations.

The kernel computes what `log_sums(shift - cost(x, y) / epsilon)` does, tile by tile in registers,
with a running maximum (Milakov and Gimelshein 2018, arXiv 1805.02867).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

# cells of a tile; sizes of populations and dimensions are padded to whole tiles
ROWS, COLUMNS, LEAST_DIMS = 128, 64, 16
# three products in TF32, of the leading and the trailing digits: as exact as float32
PRECISION = "tf32x3"


@triton.jit
def _log_sums_kernel(
    x, y, x_lengths, y_lengths, shift, out, m, per_epsilon,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DIMS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    dims = tl.arange(0, DIMS)
    left = tl.load(x + rows[:, None] * DIMS + dims[None, :])
    x_length = tl.load(x_lengths + rows)
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, m, COLUMNS):
        columns = start + tl.arange(0, COLUMNS).to(tl.int64)
        right = tl.load(y + columns[None, :] * DIMS + dims[:, None])
        products = tl.dot(left, right, input_precision=PRECISION)
        lengths = x_length[:, None] + tl.load(y_lengths + columns)[None, :]
        cost = tl.maximum(lengths - 2 * products, 0.0)
        log_p = tl.load(shift + columns)[None, :] - cost * per_epsilon
        new = tl.maximum(top, tl.max(log_p, 1))
        # of columns without weight alone: no sum yet
        base = tl.where(new == float("-inf"), 0.0, new)
        total = total * tl.exp(top - base) + tl.sum(tl.exp(log_p - base[:, None]), 1)
        top = new
    tl.store(out + rows, top + tl.log(total))


def fused_log_sums(x: Tensor, y: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Return `log sum_j exp(shift_j - |x_i - y_j|^2 / epsilon)`, shape `(n,)`, in float32."""
    dims = max(LEAST_DIMS, triton.next_power_of_2(x.shape[1]))
    left, right = _whole_tiles(x, ROWS, dims), _whole_tiles(y, COLUMNS, dims)
    out = torch.empty(len(left), device=x.device, dtype=x.dtype)
    shift = pad(shift, (0, len(right) - len(shift)), value=-torch.inf)
    lengths = (cells.square().sum(1) for cells in (left, right))
    _log_sums_kernel[(len(left) // ROWS,)](
        left, right, *lengths, shift, out, len(right), 1 / epsilon,
        ROWS=ROWS, COLUMNS=COLUMNS, DIMS=dims, PRECISION=PRECISION, num_warps=8,
    )  # fmt: skip
    return out[: len(x)]


def _whole_tiles(cells: Tensor, size: int, dims: int) -> Tensor:
    """Pad cells by zeros to whole tiles."""
    return pad(cells, (0, dims - cells.shape[1], 0, -len(cells) % size)).contiguous()
