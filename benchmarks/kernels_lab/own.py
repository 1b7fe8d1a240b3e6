"""A kernel of your own as one more version of a ladder: `kernels_lab LADDER --with FILE --launch LAUNCH`."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import tinytensor as tt
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.kernels_lab.ladders import Ladder, Rung, Sizes, Tensors
from tinytensor.commands.launch_expression import parts
from tinytensor.errors import TinyTensorError

TITLE = "yours"


def with_kernel(ladder: Ladder, file: Path, launch: str) -> Ladder:
    """The ladder with a last version, named `yours`: a kernel of a .cu file.

    Args:
        ladder: the problem.
        file: the .cu file.
        launch: `name<<<grid, block>>>(arguments)`, or `name[grid, block](arguments)`: Python expressions of
            the ladder's inputs and sizes by their names, of `out`, the result, which the kernel fills, and
            of `empty(n)` and `zeros(n)`, float32 memory of its own.

    Raises:
        BenchmarkError: the text is no launch; when it runs, also if the kernel does not compile or launch, or
            if its result differs by more than the largest tolerance of the ladder.

    Example:
        >>> from benchmarks.kernels_lab.ladders import LADDERS
        >>> longer = with_kernel(LADDERS["scan"], Path("mine.cu"), "mine<<<N // 256, 256>>>(out, x, N)")
        >>> longer.rungs[-1].lesson
        'mine<<<N // 256, 256>>>(out, x, N) of mine.cu'
    """
    if parts(launch) is None:
        raise BenchmarkError(f"--launch {launch!r} is no launch: name<<<grid, block>>>(out, …)")
    allowed = max(rung.rtol for rung in ladder.rungs)
    run = partial(_launched, ladder, file, launch)
    return replace(ladder, rungs=(*ladder.rungs, Rung(TITLE, run, f"{launch} of {file.name}", allowed)))


def _launched(ladder: Ladder, file: Path, launch: str, x: Tensors, sizes: Sizes) -> tt.Tensor:
    device = next(iter(x.values())).device
    shape = [sizes[n] if isinstance(n, str) else n for n in ladder.shape]
    out = tt.empty(shape, dtype=ladder.dtype, device=device)
    made = {make.__name__: partial(make, device=device) for make in (tt.empty, tt.zeros)}
    name, template, rest = parts(launch) or ("", [], "")
    try:
        kernel = tt.cuda.kernel(file, name, *template)
        eval(f"kernel{rest}", {"__builtins__": {}}, {"kernel": kernel, "out": out, **made, **x, **sizes})
    except (TinyTensorError, ArithmeticError, NameError, TypeError, SyntaxError) as error:
        named = ", ".join(["out", *x, *sizes, *made])
        raise BenchmarkError(f"{launch} of {file}: {error}\n  names in a launch: {named}") from error
    return out
