"""Three Triton kernels as a model might have them, and one (``EXTRA``) that comes later.

Their cache keys hold this file's text below each ``def`` and the line where it stands, so an image
and the cache packed for it belong to the same version of this file.
"""

import triton
import triton.language as tl


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(x + at, inside) + tl.load(y + at, inside), inside)


@triton.jit
def softmax(x, out, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    values = tl.load(x + row * columns + at, inside, other=float("-inf"))
    powers = tl.exp(values - tl.max(values, axis=0))
    tl.store(out + row * columns + at, powers / tl.sum(powers, axis=0), inside)


@triton.jit
def matmul(a, b, out, k, BLOCK: tl.constexpr):
    i, j = tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK
    rows, columns = i + tl.arange(0, BLOCK), j + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, k, BLOCK):
        inner = start + tl.arange(0, BLOCK)
        left = tl.load(a + rows[:, None] * k + inner[None, :])
        right = tl.load(b + inner[:, None] * k + columns[None, :])
        total += tl.dot(left, right)
    tl.store(out + rows[:, None] * k + columns[None, :], total)


@triton.jit
def scale(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(x + at, inside) * 2.0, inside)


FLOATS = "*fp32"
ALL = (
    (add, {"x": FLOATS, "y": FLOATS, "out": FLOATS, "n": "i32"}, 1024),
    (softmax, {"x": FLOATS, "out": FLOATS, "columns": "i32"}, 1024),
    (matmul, {"a": "*fp16", "b": "*fp16", "out": FLOATS, "k": "i32"}, 32),
)
EXTRA = ((scale, {"x": FLOATS, "out": FLOATS, "n": "i32"}, 1024),)
