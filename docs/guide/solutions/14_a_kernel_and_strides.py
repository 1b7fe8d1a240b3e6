"""Lesson 14, a kernel and its strides: checks and solutions of its exercises."""

import numpy as np
from lesson import RIGHT, Exercise

import tinytensor as tt


def element(answer):
    if answer == 261:
        return RIGHT
    hints = {
        133: "blocks count from 0: before block 2 there are two others",
        5: "that is its place in its block",
        7: "a block before it has 128 threads, not one",
    }
    return hints.get(answer, "blockIdx.x * blockDim.x + threadIdx.x")


def touched(answer):
    for stride in (1, 2, 3, 8, 64, 0):
        expected = len({4 * stride * lane // 32 for lane in range(32)})
        got = answer(stride)
        if got is None:
            return "the function returns nothing yet"
        if got != expected:
            return f"stride {stride}: {got}, and {expected} is right"
    return RIGHT


def sectors_of(stride):
    """Sectors that one request touches."""
    return len({4 * stride * lane // 32 for lane in range(32)})


def biased(answer):
    source = answer()
    if source is None:
        return "the function returns nothing yet"
    kernel = tt.cuda.kernel(source, "add_bias")
    base = tt.arange(35, dtype=tt.float32, device="emulated").reshape(5, 7)
    for view in (base, base.T, base[::-1, ::3]):
        rows, columns = view.shape
        y = tt.zeros(rows, columns, device="emulated")
        b = tt.arange(columns, dtype=tt.float32, device="emulated") * 100.0
        with tt.cuda.check() as report:
            kernel[2, 32](y, tt.cuda.pointer(view), b, rows, columns, *view.strides)
        if report.findings:
            return f"strides {view.strides}: {report.findings[0]}"
        if not np.array_equal(y.cpu().numpy(), view.cpu().numpy() + b.cpu().numpy()):
            return f"shape {view.shape}, strides {view.strides}: the numbers are wrong"
    return RIGHT


def add_bias():
    """The source of the kernel."""
    return """
    __global__ void add_bias(float* y, const float* x, const float* b, int rows, int columns,
                             int row_stride, int column_stride) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i >= rows * columns) return;
        const int r = i / columns, c = i % columns;
        y[i] = x[r * row_stride + c * column_stride] + b[c];
    }
    """


def _without_strides():
    return add_bias().replace("x[r * row_stride + c * column_stride]", "x[i]")


def _without_end():
    return add_bias().replace("if (i >= rows * columns) return;", "")


def _bias_of_rows():
    return add_bias().replace("b[c]", "b[r]")


EXERCISES = [
    Exercise(
        element,
        solution=261,
        why="Two blocks of 128 stand before it, then 5 threads: 2 · 128 + 5 = 261.",
        wrong=[133, 5, 7, 260, "the fifth"],
    ),
    Exercise(
        touched,
        solution=sectors_of,
        why="From stride 8 on each thread has a sector for itself; at stride 0 all share one.",
        wrong=[
            lambda stride: None,
            lambda stride: 4 * stride,
            lambda stride: min(32, 4 * stride),
            lambda stride: 32,
            4,
        ],
    ),
    Exercise(
        biased,
        solution=add_bias,
        why="Only x has strides; y is packed, so element i of it is y[i].",
        wrong=[lambda: None, _without_strides, _without_end, _bias_of_rows, lambda: "no kernel", "source"],
    ),
]
