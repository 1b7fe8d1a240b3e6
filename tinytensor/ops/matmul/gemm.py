"""Matrix products on a device: choice of tile size, split-K factor and kernel, and the launches.

The kernels are in `matmul.cu` and `matmul_mma.cu` of `kernels/matmul`. This module works with integers
alone: sizes, strides, and numbers of blocks and threads.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from tinytensor.config import config
from tinytensor.dispatch import copies
from tinytensor.dispatch.launch import Launch, View, blocks_for, elementwise, merge, write
from tinytensor.dtypes import DType, float16, float32
from tinytensor.errors import DeviceError, DTypeError, ShapeError
from tinytensor.kernels.reduction import need_real
from tinytensor.layout import Layout
from tinytensor.runtime.base import Runtime
from tinytensor.runtime.cuda import cublas
from tinytensor.shapes import Shape, broadcast_shapes

# ---- sizes and strides -------------------------------------------------------------------------------------

BATCH_AXES = 4  # most batch axes that the kernels take
LARGEST = (1 << 31) - 1024  # rows, columns or inner elements: kernels count them, plus one tile, in 32 bits


class Product(NamedTuple):
    """y = a @ b per batch index: a is rows × inner, b is inner × columns. Strides are counted in elements."""

    rows: int
    columns: int
    inner: int
    matrices: int  # product of the sizes of the batch axes
    batch: Shape
    a_row: int
    a_inner: int
    b_inner: int
    b_column: int
    a_batch: Shape
    b_batch: Shape

    def turned(self) -> Product:
        """The transposed product, y.T = b.T @ a.T: same elements, operands swapped."""
        sizes = self.columns, self.rows, self.inner, self.matrices, self.batch
        return Product(
            *sizes, self.b_column, self.b_inner, self.a_inner, self.a_row, self.b_batch, self.a_batch
        )

    def packed(self, part: int, parts: int, y_row: int) -> bytes:
        """`Product` of matmul.cuh as bytes: `inner` in `parts` parts, rows of y every `y_row` elements."""
        missing = BATCH_AXES - len(self.batch)
        sizes, zeros = (1,) * missing + self.batch, (0,) * missing
        return PRODUCT.pack(
            *(self.rows, self.columns, self.inner, part, parts, *sizes[1:]),
            *(self.matrices * self.rows * self.columns, y_row),
            *(self.a_row, self.a_inner, self.b_inner, self.b_column),
            *(*zeros, *self.a_batch, *zeros, *self.b_batch),
        )


PRODUCT = struct.Struct("@8i14q")  # of matmul.cuh


def product_of(a: Layout, b: Layout, ta: bool, tb: bool) -> Product:
    """Sizes and strides of a @ b, with as few batch axes as possible.

    Args:
        a, b: (..., M, K) and (..., K, N), or with these two axes swapped if `ta` or `tb` is set. The shapes
            have been checked.
    """
    shape = broadcast_shapes(a.shape[:-2], b.shape[:-2], what="matmul")
    *a_batch, a_row, a_inner = a.expand((*shape, *a.shape[-2:])).strides
    *b_batch, b_inner, b_column = b.expand((*shape, *b.shape[-2:])).strides
    (m, k), n, batch = a.shape[-2:], b.shape[-1], list(shape)
    if ta:
        m, k, a_row, a_inner = k, m, a_inner, a_row
    if tb:
        n, b_inner, b_column = b.shape[-2], b_column, b_inner
    # A batch axis broadcast in b merges with the rows of a, if the strides of a allow it.
    while batch and (batch[-1] == 1 or (b_batch[-1] == 0 and (m == 1 or a_batch[-1] == m * a_row))):
        size, step, _ = batch.pop(), a_batch.pop(), b_batch.pop()
        if size != 1:
            m, a_row = m * size, step if m == 1 else a_row
    sizes, steps = merge(batch, [a_batch, b_batch])
    a_row, a_inner = _without_idle_steps(m, a_row, k, a_inner)
    b_column, b_inner = _without_idle_steps(n, b_column, k, b_inner)
    matrices = 1
    for size in sizes:
        matrices *= size
    return Product(m, n, k, matrices, sizes, a_row, a_inner, b_inner, b_column, *steps)


def _without_idle_steps(lines: int, line: int, inner: int, step: int) -> tuple[int, int]:
    """Strides of an operand; an axis of size 1 gets a stride that any kernel accepts, since it is unused."""
    if lines == 1:
        return (0, step) if step == 1 else (1, step)
    if inner <= 1:
        return (line, 0) if line == 1 else (line, 1)
    return line, step


# ---- tiles and parts ---------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """The tile of y that one block computes."""

    rows: int
    columns: int
    shape: tuple[int, ...]  # more template arguments of the kernel
    threads: int
    rate: float  # multiplications per cycle of a multiprocessor full of such blocks
    resident: int  # blocks of which it is full
    shared: int = 0  # bytes of dynamic shared memory


# A large tile reads its operands less often; a small one has fewer idle threads at the edges, and keeps more
# multiprocessors busy. For 64, 32 or 16 multiplications a thread reads 16, 12 or 8 values from shared memory.
ORDINARY = (
    Tile(128, 128, (8, 8, 8), 256, 128.0, 2),
    Tile(64, 64, (16, 4, 8), 128, 102.0, 4),
    Tile(32, 32, (16, 4, 4), 64, 64.0, 8),
)

# What a multiprocessor does in a cycle at most, by data sheets and published measurements.
MULTIPLICATIONS = 1300  # of 16-bit floats by `mma` on an H100; 1024 on an A100, 512 on consumer GPUs
SHARED_BYTES = 128  # read or written
L2_BYTES = 40  # read
LINE = 128  # bytes of each line (row of a, column of b) in a stage of matmul_mma.cu: 64 inner elements


def tensor_tile(rows: int, columns: int, warp: tuple[int, int], resident: int, architecture: int) -> Tile:
    """A tile of matmul_mma.cu; its rate is limited by tensor cores, shared memory or the L2 cache.

    Every warp reads the lines of its part of the tile from shared memory; the lines of the tile come from the
    L2 cache and are written there. Where memory is left, a third stage gives copies more time.
    """
    warps = rows // warp[0] * columns // warp[1]
    from_l2, work = (rows + columns) * LINE, rows * columns * LINE // 2
    in_shared = from_l2 + warps * sum(warp) * LINE
    rate = min(MULTIPLICATIONS, work * SHARED_BYTES / in_shared, work * L2_BYTES / from_l2)
    from tinytensor.runtime.cuda.occupancy import LIMITS  # imported with the first device

    limits = LIMITS[max(known for known in LIMITS if known <= architecture)]
    fit = min(resident, limits.shared // (2 * from_l2 + limits.reserved))
    rate *= (fit + resident) / (2 * resident)  # as in `_rounds`
    stages = 3 if limits.shared >= fit * (3 * from_l2 + limits.reserved) else 2
    return Tile(rows, columns, (*warp, stages), warps * 32, rate, fit, stages * from_l2)


@cache
def tensor_tiles(architecture: int) -> tuple[Tile, ...]:
    """The tiles of matmul_mma.cu for GPUs of this compute capability (times ten)."""
    if architecture < 80:  # where more instructions leave fewer registers
        shapes = [(128, 128, (64, 32), 1), (64, 64, (32, 32), 2)]
    else:
        shapes = [
            (128, 256, (64, 64), 1),
            (256, 128, (64, 64), 1),
            (128, 128, (64, 64), 2),
            (64, 64, (32, 32), 3),
        ]
    return tuple(tensor_tile(*shape, architecture) for shape in shapes)


def hopper_tile(columns: int) -> Tile:
    """A tile of matmul_sm90.cu; its rate is limited by the L2 cache, as wgmma reads shared memory once for 64
    rows. It has 4 stages of 128 bytes of each line, and 16 × 72 elements gathered by each of 8 warps.
    """
    rate = 128 * columns * LINE / 2 * L2_BYTES / ((128 + columns) * LINE)
    shared = 4 * (128 + columns) * LINE + 8 * 16 * 72 * 2 + 64 + 1008
    return Tile(128, columns, (columns,), 384, rate, 1, shared)


HOPPER = (hopper_tile(256), hopper_tile(192))  # of compute capability 9.0 alone

# The model of a GPU: it runs blocks in rounds, each of as many as are resident. Times are in cycles.
BEGIN_AND_END = 128  # prologue and epilogue of a tile, in inner elements; other resident blocks hide a share
SECOND_LAUNCH = 3_000  # 2 µs
ADD_PART = 0.6  # write and read one sum: 8 bytes, at 13 bytes a cycle
SHORTEST_PART = 256  # inner elements


def cut(tiles: Sequence[Tile], p: Product, multiprocessors: int) -> tuple[Tile, int]:
    """The tile and the number of parts of `inner` (split-K) with the least estimated time.

    With fewer tiles than multiprocessors, as for the gradient of a weight, or with a last round of a few
    tiles, `inner` is split, and a second kernel adds up the parts, in their order: so bits are the same in
    each run on a GPU. To split the tiles of the last round alone (as stream-K does) takes another launch; by
    this model it would gain nothing for the products of GPT-2, and up to 14 % for few other sizes.
    """
    best, least = (tiles[-1], 1), float("inf")
    for tile in tiles:
        blocks, slots = tile_count(p, tile), tile.resident * multiprocessors
        parts = 1
        while parts == 1 or (parts * blocks < 4 * slots and parts * SHORTEST_PART <= p.inner):
            time = cycles(tile, p, parts, multiprocessors)
            if time < least:
                best, least = (tile, parts), time
            parts += 1 + parts // 8
    return best


def cycles(tile: Tile, p: Product, parts: int, multiprocessors: int) -> float:
    """Estimated time of a product, in cycles."""
    depth = -(-p.inner // parts) + BEGIN_AND_END / tile.resident
    alone = depth * tile.rows * tile.columns / tile.rate  # a block by itself, at the full rate
    time = alone * _rounds(tile_count(p, tile) * parts, tile.resident, multiprocessors)
    if parts > 1:
        sums = p.matrices * p.rows * p.columns * parts
        time += SECOND_LAUNCH + sums * ADD_PART / multiprocessors
    return time


def _rounds(blocks: int, resident: int, multiprocessors: int) -> float:
    """Time to run blocks, in times of one: one of 2 resident blocks runs at 3/4, one of 3 at 2/3."""
    full, left = divmod(blocks, resident * multiprocessors)
    last = -(-left // multiprocessors)  # blocks of the busiest multiprocessor in the last round
    return full * resident + last * 2 * resident / (last + resident)


def tile_count(p: Product, tile: Tile) -> int:
    """Number of tiles that cover y."""
    return -(-p.rows // tile.rows) * -(-p.columns // tile.columns) * p.matrices


# ---- which kernel ------------------------------------------------------------------------------------------

ROW_BLOCK, ROW_LANES = 256, 8  # threads of matmul_row_by_lines, and threads per element of y
BLOCK_COLUMNS, MOST_GROUPS = 32, 128  # of matmul_row_by_columns: columns per block, most groups of 8 threads

PLAIN = "Plain"  # the identity as gate (epilogue) of a kernel

Instance = tuple[str, tuple[Any, ...]]


class Choice(NamedTuple):
    """The kernel for a product. `template` lacks the first argument (output type) and the last (gate)."""

    file: str
    kernel: str
    template: tuple[Any, ...]
    grid: int  # for one part
    block: int
    parts: int = 1
    shared: int = 0  # bytes of dynamic shared memory


def choose(p: Product, dtype: DType, runtime: Runtime, boxes: bool = False) -> Choice:
    """The kernel with the least estimated time for a product on a device.

    `boxes`: whether the addresses of the operands are multiples of 16, which TMA needs.
    """
    if p.rows == 1:
        by = _row_by_lines if p.b_inner == 1 else _row_by_columns
        return by(p, dtype, runtime.multiprocessors)
    if _has_tensor_cores(dtype, runtime.architecture):
        on_tensor_cores = tensor_tiles(runtime.architecture)
        if runtime.architecture == 90 and boxes and fits_boxes(p, dtype):
            on_tensor_cores = (*HOPPER, *on_tensor_cores)
        tile, parts = cut(on_tensor_cores, p, runtime.multiprocessors)
        if tile in HOPPER:
            return by_warpgroups(p, dtype, parts, tile)
        return by_tensor_cores(p, dtype, tile, parts)
    tiles = ORDINARY if dtype.itemsize <= 4 else ORDINARY[1:]  # 64 sums of 8 bytes would fill the registers
    tile, parts = cut(tiles, p, runtime.multiprocessors)
    template = (dtype, tile.rows, tile.columns, *tile.shape)
    return Choice("matmul", "matmul_tiles", template, tile_count(p, tile), tile.threads, parts)


def by_tensor_cores(p: Product, dtype: DType, tile: Tile, parts: int) -> Choice:
    """The kernel of matmul_mma.cu with this tile."""
    template = (dtype, tile.rows, tile.columns, *tile.shape, p.a_inner == 1, p.b_inner == 1)
    grid = tile_count(p, tile)
    return Choice("matmul_mma", "matmul_tensor_cores", template, grid, tile.threads, parts, tile.shared)


def by_warpgroups(p: Product, dtype: DType, parts: int, tile: Tile = HOPPER[0]) -> Choice:
    """The kernel of matmul_sm90.cu; `grid` is the number of tiles, of which a block computes several."""
    template = (dtype, *tile.shape, p.a_inner == 1, p.b_inner == 1)
    grid, file, kernel = tile_count(p, tile), "matmul_sm90", "matmul_hopper"
    return Choice(file, kernel, template, grid, tile.threads, parts, tile.shared)


def fits_boxes(p: Product, dtype: DType) -> bool:
    """Whether TMA can copy the operands: aligned lines, and at most one batch axis."""
    steps = [p.a_row if p.a_inner == 1 else p.a_inner, p.b_column if p.b_inner == 1 else p.b_inner]
    fine = all(step > 0 and step % 8 == 0 for step in steps)
    batch = all(step >= 0 and step % 8 == 0 for step in (*p.a_batch, *p.b_batch))
    return dtype.narrow and p.inner > 0 and len(p.batch) <= 1 and fine and batch


def operand_maps(
    runtime: Runtime, p: Product, dtype: DType, columns: int, a: int, b: int
) -> tuple[bytes, bytes]:
    """Tensor maps of the operands, (batch, lines, inner) or (batch, inner, lines), for such tiles."""
    maps = []
    for ptr, lines, line, step, batch, tile in (
        (a, p.rows, p.a_row, p.a_inner, p.a_batch, 128),
        (b, p.columns, p.b_column, p.b_inner, p.b_batch, columns),
    ):
        matrices = p.matrices if batch and batch[0] else 1
        along = step == 1
        shape = (matrices, lines, p.inner) if along else (matrices, p.inner, lines)
        pitch = line if along else step
        strides = (batch[0] if matrices > 1 else pitch, pitch, 1)
        maps.append(runtime.tensor_map(ptr, dtype, shape, strides, (1, tile if along else 64, 64)))
    return maps[0], maps[1]


def _has_tensor_cores(dtype: DType, architecture: int) -> bool:
    if dtype is float32:
        return config.tf32 and architecture >= 80
    return dtype.narrow and (architecture >= 80 or dtype is float16)


def _row_by_lines(p: Product, dtype: DType, multiprocessors: int) -> Choice:
    """One row times a matrix contiguous along `inner`. Bound by memory reads, so many threads load."""
    name, outputs = "matmul_row_by_lines", p.columns * p.matrices
    blocks = -(-outputs * ROW_LANES // ROW_BLOCK)
    if blocks >= multiprocessors or p.inner < 1024:
        return Choice("matmul", name, (dtype, ROW_LANES), blocks, ROW_BLOCK)
    parts = max(1, min(2 * multiprocessors // outputs, p.inner // 8192))
    return Choice("matmul", name, (dtype, ROW_BLOCK), outputs, ROW_BLOCK, parts)


def _row_by_columns(p: Product, dtype: DType, multiprocessors: int) -> Choice:
    """One row times a matrix that is contiguous along its columns."""
    blocks = -(-p.columns // BLOCK_COLUMNS) * p.matrices
    parts = max(1, min(2 * multiprocessors // blocks, p.inner // 2048))
    groups = 4
    while groups < MOST_GROUPS and groups * 8 * parts < p.inner:
        groups *= 2
    return Choice("matmul", "matmul_row_by_columns", (dtype,), blocks, groups * 8, parts)


def _training(dtype: DType) -> tuple[Instance, ...]:
    """Template instances that a float32 training step uses: compiled together, in one compiler run."""
    if dtype is not float32:
        return ()
    tiles = [("matmul_tiles", (dtype, dtype, t.rows, t.columns, *t.shape, PLAIN)) for t in ORDINARY]
    return (*tiles, ("matmul_row_by_columns", (dtype, dtype, PLAIN)))


# ---- launches ----------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """The launch parameters of a product, without addresses."""

    p: Product
    turned: bool  # computes the transposed product: the kernel gets the second operand first
    choice: Choice
    packed: bytes  # for the kernel that writes y
    in_parts: bytes  # for the kernel that writes parts
    grid: int
    target: DType  # dtype that the first kernel writes


Operands = tuple[View | None, View, View | None]  # a, b, bias
_plans: dict[Any, Plan] = {}
_MAX_PLANS = 10_000


def multiply(
    launch: Launch,
    y: View,
    a: View,
    b: View,
    bias: View | None = None,
    *,
    ta: bool = False,
    tb: bool = False,
    gate: str = PLAIN,
    before: View | None = None,
    column_sums: View | None = None,
) -> None:
    """y = gate(a @ b + bias).

    Args:
        y: (..., M, N), C-contiguous, or with a gap after each row; if contiguous, it may have another shape
            with as many elements. Its dtype may be float32 where that of the operands is 16-bit.
        gate: a functor of kernels/elementwise/gelu.cuh, or PLAIN.
        before: optional second output, receives a @ b + bias; has the layout of y.
        a, b: (..., M, K) and (..., K, N), or with these two axes swapped if `ta` or `tb` is set.
            Leading axes broadcast. Any strides; if neither of the last two is 1, the operand is copied.
        bias: (N,), C-contiguous.
        column_sums: optional third output, receives the sums of the columns of b (K, N), in the dtype of y.
    """
    need_real("matmul", a)
    if y.layout.size == 0:
        if column_sums is not None:
            sum_columns(launch, column_sums, b)
        return
    vendor = config.matmul == "vendor"
    y_row = 0 if y.is_contiguous else y.strides[-2]
    boxes = a.ptr % 16 == b.ptr % 16 == 0
    operands = (a.layout, b.layout, ta, tb, a.dtype, boxes)
    key = (launch.runtime, operands, y.dtype, y_row, bias is None, vendor, config.tf32)
    plan = _plans.get(key)
    if plan is None:
        p = product_of(a.layout, b.layout, ta, tb)
        dense_a, dense_b = _readable(launch, p, a, b, blas=vendor)
        if dense_a is not a or dense_b is not b:
            given: dict[str, Any] = {"gate": gate, "before": before, "column_sums": column_sums}
            return multiply(launch, y, dense_a, dense_b, bias, ta=ta, tb=tb, **given)
        if len(_plans) >= _MAX_PLANS:
            _plans.clear()
        # Compute a column of y as a row of its transpose.
        turned = p.columns == 1 and p.rows > 1 and bias is None and not vendor
        p = p.turned() if turned else p
        plan = _plans[key] = plan_of(p, y.dtype, choose(p, a.dtype, launch.runtime, boxes), turned, y_row)
    fused = not vendor and plan.choice.kernel == "matmul_hopper" and not plan.choice.template[3]
    if column_sums is not None and not fused:
        sum_columns(launch, column_sums, b)
        column_sums = None
    if vendor:
        z = y if before is None else before
        _multiply_by_vendor(launch, plan.p, z, y_row, a, b, bias)
        if gate != PLAIN:
            elementwise(launch.runtime, "gelu", gate, y, (z,), y.dtype, y.dtype)
        return
    if plan.turned:
        a, b = b, a
    start(launch, plan, y, (a, b, bias), gate, before, column_sums)


def _readable(launch: Launch, p: Product, a: View, b: View, *, blas: bool) -> tuple[View, View]:
    """The operands, or contiguous copies of those that the kernels cannot read."""
    if len(p.batch) > BATCH_AXES:
        shape = broadcast_shapes(a.shape[:-2], b.shape[:-2], what="matmul")
        a, b = [v.read_through(v.layout.expand((*shape, *v.shape[-2:]))) for v in (a, b)]
        return _copied(launch, a), _copied(launch, b)
    a_fine = _is_matrix(p.rows, p.a_row, p.inner, p.a_inner, blas)
    b_fine = _is_matrix(p.columns, p.b_column, p.inner, p.b_inner, blas)
    return a if a_fine else _copied(launch, a), b if b_fine else _copied(launch, b)


def _is_matrix(lines: int, line: int, inner: int, step: int, blas: bool) -> bool:
    """Whether one of the strides is 1; BLAS also requires lines that do not overlap."""
    if step == 1:
        return not blas or lines == 1 or inner <= line <= LARGEST
    return line == 1 and (not blas or inner <= 1 or lines <= step <= LARGEST)


def _copied(launch: Launch, v: View) -> View:
    if v.is_contiguous:
        return v
    need = "kernels read matrices with a stride of 1 along rows or columns"
    copies.hidden("matmul", "an operand", v.shape, v.strides, v.nbytes, need)
    return launch.packed(v, v.dtype)


def plan_of(p: Product, dtype: DType, choice: Choice, turned: bool = False, y_row: int = 0) -> Plan:
    """Launch parameters of the chosen kernel for a product of this dtype; `y_row` is 0 without gaps."""
    if max(p.rows, p.columns, p.inner) > LARGEST:
        raise ShapeError(
            f"matmul: a product of {p.rows} × {p.inner} by {p.inner} × {p.columns} elements",
            why=f"kernels count the elements of an axis in 32 bits, up to {LARGEST}",
            fix="split the operands along that axis, and concatenate or add the results",
        )
    inner = max(p.inner, 1)
    # A multiple of 64 keeps vectors aligned.
    part = -(-inner // (64 * choice.parts)) * 64 if choice.parts > 1 else inner
    parts = -(-inner // part)
    target = float32 if parts > 1 and dtype.narrow else dtype
    packed, in_parts = [p.packed(part, parts, row) for row in (y_row or p.columns, p.columns)]
    return Plan(p, turned, choice._replace(parts=parts), packed, in_parts, choice.grid * parts, target)


def start(
    launch: Launch,
    plan: Plan,
    y: View,
    operands: Operands,
    gate: str = PLAIN,
    before: View | None = None,
    column_sums: View | None = None,
) -> None:
    """Launch the kernel of a plan, and the one that adds up the parts if `inner` is split."""
    a, b, bias = operands
    choice, runtime = plan.choice, launch.runtime
    in_parts = choice.parts > 1
    template = (plan.target, *choice.template, PLAIN if in_parts else gate)
    together = _training(choice.template[0]) if choice.kernel == "matmul_tiles" else ()
    kernel = runtime.kernel(choice.file, choice.kernel, *template, together=together)

    def run(target: View, before: View | None, sums: View | None, bias: View | None, packed: bytes) -> None:
        grid = plan.grid
        args: list[Any] = [target, before, a, b, bias, packed]
        if choice.kernel == "matmul_hopper":  # blocks that stay, and take one tile after another
            assert a is not None
            grid = blocks_for(grid, 1, runtime.multiprocessors)
            dtype, columns, *_ = choice.template
            maps = operand_maps(runtime, plan.p, dtype, columns, a.ptr, b.ptr)
            many = [bool(batch and batch[0]) for batch in (plan.p.a_batch, plan.p.b_batch)]
            args = [target, before, sums, bias, packed, plan.grid, *many, *maps]
        kernel(grid, choice.block, args, choice.shared)

    if not in_parts:
        run(y, before, column_sums, bias, plan.packed)
        return
    parts = launch.scratch((choice.parts, y.layout.size), plan.target)
    of_columns = None if column_sums is None else launch.scratch((choice.parts, plan.p.columns), plan.target)
    run(parts, None, of_columns, None, plan.in_parts)
    add = runtime.kernel("matmul", "matmul_sum", y.dtype, gate)
    args = (y, before, column_sums, parts, of_columns, bias, plan.packed)
    add(blocks_for(y.layout.size, 1024), 256, args)


def sum_columns(launch: Launch, y: View, x: View) -> None:
    """y (N,) = column sums of x (M, N), of any strides: a row of ones times x."""
    if y.layout.size == 0:
        return
    need_real("matmul", x)
    if x.shape[1] > 1 and x.strides[1] != 1:
        x = _copied(launch, x)
    (m, n), row = x.shape, x.strides[0]
    p = Product(1, n, m, 1, (), 0, 1, row if m > 1 else 0, 1, (), ())
    plan = plan_of(p, y.dtype, _row_by_columns(p, x.dtype, launch.runtime.multiprocessors))
    start(launch, plan, y, (None, x, None))


def _multiply_by_vendor(
    launch: Launch, p: Product, y: View, y_row: int, a: View, b: View, bias: View | None
) -> None:
    """Matrix product through cuBLAS: for comparison; not allowed during graph capture."""
    runtime: Any = launch.runtime
    if runtime.device.type != "cuda":
        raise DeviceError(
            f'matmul: tt.config.matmul is "vendor", but cuBLAS is not available on {runtime.device}',
            why="cuBLAS runs on GPUs alone, and there is no silent fallback to another library",
            fix='tt.config.matmul = "auto"',
        )
    if a.dtype not in cublas.TYPES:
        raise DTypeError(
            f'matmul: tt.config.matmul is "vendor", and the operands have dtype {a.dtype}',
            why=f"cuBLAS multiplies {', '.join(map(str, cublas.TYPES))}",
            fix='tt.config.matmul = "auto"',
        )
    if bias is not None:
        write(runtime, y, bias.read_through(bias.layout.expand(y.shape)))
    left = cublas.Operand(a.ptr, p.a_inner != 1, p.a_row if p.a_inner == 1 else p.a_inner, p.a_batch)
    right = cublas.Operand(b.ptr, p.b_inner == 1, p.b_column if p.b_inner == 1 else p.b_inner, p.b_batch)
    sizes = p.rows, p.columns, p.inner
    out = cublas.Result(y.ptr, y.dtype, y_row or p.columns)
    cublas.multiply(runtime, a.dtype, sizes, p.batch, out, left, right, bias is not None, config.tf32)
