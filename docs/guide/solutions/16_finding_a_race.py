"""Lesson 16, finding a race: checks and solutions of its exercises."""

from lesson import RIGHT, Exercise

import tinytensor as tt
from tinytensor.runtime import runtime_of


def steps(answer):
    if answer == 10:
        return RIGHT
    hints = {
        1024: "half of the threads add at the same time",
        8: "8 steps are for 256",
        9: "9 steps are for 512",
    }
    return hints.get(answer, "each step leaves half as many sums: 1024, 512, …, 1")


def turned(answer):
    source = answer()
    if source is None:
        return "the function returns nothing yet"
    x = tt.arange(64, dtype=tt.float32, device="emulated")
    with tt.cuda.check() as report:
        tt.cuda.kernel(source, "turn")[1, 64](x)
    if report.findings:
        return str(report.findings[0])
    if x.tolist() != [63.0 - i for i in range(64)]:
        return f"the numbers are not turned round: {x[:4].tolist()} …"
    return RIGHT


def turn():
    """The source of the kernel."""
    return """
    __global__ void turn(float* x) {
        __shared__ float s[64];
        const int t = threadIdx.x;
        s[t] = x[t];
        __syncthreads();
        x[t] = s[63 - t];
    }
    """


def found(answer):
    source = answer()
    if source is None:
        return "the function returns nothing yet"
    least = -(2**31)
    x = tt.tensor([i * 37 % 101 - 200 for i in range(300)], dtype=tt.int32, device="emulated")
    largest = tt.full((1,), least, dtype=tt.int32, device="emulated")
    with tt.cuda.check() as report:
        tt.cuda.kernel(source, "find")[5, 64](largest, x, 300)
    if report.findings:
        return str(report.findings[0])
    for order in (0, 1):
        largest = tt.full((1,), least, dtype=tt.int32, device="emulated")
        with runtime_of(tt.Device("emulated")).schedule(order=order):
            tt.cuda.kernel(source, "find")[3, 128](largest, x, 300)
        if largest.item() != max(x.tolist()):
            return f"the result is {largest.item()}, and {max(x.tolist())} is right"
    return RIGHT


def find():
    """The source of the kernel."""
    return """
    __global__ void find(int* largest, const int* x, int n) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) atomicMax(largest, x[i]);
    }
    """


def _not_atomic():
    return find().replace("atomicMax(largest, x[i]);", "if (x[i] > largest[0]) largest[0] = x[i];")


def _no_end():
    return find().replace("if (i < n) ", "")


def _without_barrier():
    return turn().replace("__syncthreads();", "")


def _barrier_too_late():
    return (
        turn().replace("        __syncthreads();\n", "").replace("s[63 - t];", "s[63 - t]; __syncthreads();")
    )


EXERCISES = [
    Exercise(
        steps,
        solution=10,
        why="1024 is 2 to the power of 10, and each step halves.",
        wrong=[1024, 8, 9, 512, "few"],
    ),
    Exercise(
        turned,
        solution=turn,
        why="Thread t reads what thread 63 - t has written, so all must have written first.",
        wrong=[lambda: None, _without_barrier, _barrier_too_late, lambda: "no kernel"],
    ),
    Exercise(
        found,
        solution=find,
        why="The order of the blocks does not matter to a maximum, if each comparison is one step.",
        wrong=[lambda: None, _not_atomic, _no_end, lambda: "no kernel"],
    ),
]
