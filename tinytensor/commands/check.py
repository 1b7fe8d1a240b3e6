"""`python -m tinytensor check`: runs kernels under the memory and race checker and prints a report."""

from __future__ import annotations

import argparse
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import tinytensor as tt
from tinytensor.commands.exercises import EXERCISES, LOOPING, run
from tinytensor.commands.json_output import (
    SHOWN,
    printed,
    report_fields,
    tell,
    tensor_fields,
    write_json,
    write_page,
)
from tinytensor.commands.larger_calls import Tensors, larger_of
from tinytensor.commands.launch_expression import parse_launch, required
from tinytensor.commands.options import parser
from tinytensor.dispatch.launch import limited_blocks
from tinytensor.emulator.check.counts import KernelCount
from tinytensor.emulator.check.report import CheckReport
from tinytensor.errors import ArgumentError, nearest
from tinytensor.lab.kernels.kernel_view import replay_of
from tinytensor.op_table import Row
from tinytensor.runtime.cuda.nvrtc import signatures
from tinytensor.runtime.kernel_files import kernel_files

BLOCKS, OWN_BLOCKS = 4, 64  # counted in each launch
MMA = "_mma"  # suffix of the files that use tensor cores
TENSOR_CORES = (MMA, "_sm90")
FLOATS = ("float32", "float64", "float16", "bfloat16")
OnDevice = Callable[[str], Tensors]
Reports = dict[str, CheckReport]


def main(words: Sequence[str], command: str = "check", **defaults: Any) -> int:
    """Check the named kernels or script; returns 1 if a defect was found. `defaults`: of options."""
    options, code = _options(words, command, defaults), 0
    if options.kernel.endswith(".py"):
        reports, code, more = _check_script(options)
    elif options.kernel.endswith(".cu") and (options.launch or Path(options.kernel).is_file()):
        reports, more = _check_launches(options)
    else:
        reports, more = _check_engine(options), {}
    *_, last = reports.values()
    write_page(options, options.html, lambda: replay_of(last).html())
    if options.json:
        fields = {name: report_fields(report) for name, report in reports.items()}
        write_json("check", reports=fields, **more)
    return code or int(any(report.findings for report in reports.values()))


def replay(words: Sequence[str]) -> int:
    """`python -m tinytensor replay`: a check of one block of each launch, with a page that replays it."""
    return main(words, "replay", blocks=1, html="replay.html")


def calls_of(file: str, wanted: str | None = None, *, looping: bool = False) -> dict[str, OnDevice]:
    """The calls that `check` runs for a .cu file, by name: functions of the device.

    Args:
        file: without its ending.
        wanted: dtype of floats; default float32, in files of tensor cores bfloat16.
        looping: for grids of two blocks (`limited_blocks`).
    """
    dtype = wanted or ("bfloat16" if file.endswith(TENSOR_CORES) else "float32")
    rows = (LOOPING if looping else EXERCISES).get(file.removesuffix(MMA), [])
    calls: dict[str, OnDevice] = {f"{row.name} {dtype}": partial(_flat, row, dtype) for row in rows}
    for call in larger_of(file):
        first = call.dtypes[0]  # calls in 16 bits are for kernels that no other floats have
        possible = FLOATS if first in FLOATS[:2] else FLOATS[2:] if first in FLOATS else ()
        for own in [wanted] if wanted and wanted in possible else call.dtypes:
            calls[f"larger {call.name} {own}"] = partial(call.run, own)
    return calls


def _flat(row: Row, dtype: str, device: str) -> Tensors:
    return [*chain(*run(row, device, dtype))]


def _options(words: Sequence[str], command: str, defaults: dict[str, Any]) -> argparse.Namespace:
    """The options, on either side of a kernel; what follows a script is passed to the script."""
    made = parser(
        command,
        "Run kernels with every access checked: invalid accesses, races, barriers; and report the memory "
        "cost of each source line. Needs a C++ compiler, but no GPU. A page replays the counted blocks.",
        *("--launch", "--html", "--json"),
        epilog="`replay` is `check --blocks 1 --html replay.html`.",
    )
    made.add_argument(
        "kernel",
        help="a kernel (softmax_forward), a file of tinytensor/kernels (softmax), all, a script (my.py) "
        'that uses device "emulated" or "checked", or a file of yours (my.cu) with --launch',
    )
    made.add_argument("arguments", nargs="*", default=[], help="arguments of the script")
    cores = " or ".join(TENSOR_CORES)
    about = f"of the inputs (default: float32; for files that end in {cores} bfloat16)"
    made.add_argument("--dtype", choices=FLOATS, help=about)
    about = f"blocks of each launch that are counted (default: {BLOCKS}; with --launch {OWN_BLOCKS})"
    made.add_argument("--blocks", type=_number_of_blocks, help=about)
    made.set_defaults(command=command, **defaults)
    end = next((i + 1 for i, word in enumerate(words) if word.endswith(".py")), len(words))
    options = made.parse_intermixed_args(words[:end])
    options.arguments += words[end:]
    if options.blocks is None:
        options.blocks = OWN_BLOCKS if options.launch else BLOCKS
    return options


def _number_of_blocks(word: str) -> int:
    """Argparse type of `--blocks`."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 0 on")
    return int(word)


# ---- kernels of the engine ---------------------------------------------------------------------------------


def _check_engine(options: argparse.Namespace) -> Reports:
    """Check the kernels of one file or of all, or one kernel."""
    name, command, whole = options.kernel, options.command, options.kernel == "all"
    for given, what, why, fix in (
        (
            options.launch,
            f"--launch with {name}",
            "it launches a kernel of a .cu file; those of the engine have launches of their own",
            "name your file, or leave --launch out",
        ),
        (
            options.arguments,
            f"{options.arguments} behind {name}",
            "only a script has arguments of its own",
            f"python -m tinytensor {command} {name} [options]",
        ),
        (
            whole and options.html,
            "all with --html",
            "a page shows the kernels of one file",
            "name the file, or a kernel",
        ),
    ):
        if given:
            raise ArgumentError(f"{command}: {what}", why=why, fix=fix)
    reports = {}
    for file, kernel in (dict.fromkeys(kernel_files(".cu"), "") if whole else _found(name, command)).items():
        report = reports[file] = _checked(file, kernel, options)
        if report.kernels:
            tell(options, _summary(file, report) if whole else str(report))
    if whole:
        findings = sum(len(report.findings) for report in reports.values())
        tell(options, f"\n{len(reports)} files, {findings} finding{'' if findings == 1 else 's'}")
    return reports


def _found(name: str, command: str) -> dict[str, str]:
    """Exercises that launch a kernel or the kernels of a file, with the name of the kernel to report."""
    files = kernel_files(".cu")
    if (stem := name.removesuffix(".cu")) in files:
        return {stem: ""}
    kernels = {stem: signatures(path) for stem, path in files.items()}
    if found := {stem: name for stem in files if name in kernels[stem]}:
        return found
    near = nearest(name, {*files, *chain(*kernels.values())})
    raise ArgumentError(
        f"{command}: there is no kernel {name!r}",
        why=f"the files are {', '.join(files)}",
        fix=(f"did you mean {near}? " if near else "")
        + "name one of them, a kernel in one of them, all, or a script that ends in .py",
    )


def _checked(file: str, kernel: str, options: argparse.Namespace) -> CheckReport:
    """Run the calls of a file, then again with few blocks; the report is about `kernel`, "" for all."""
    with tt.cuda.check(blocks=options.blocks, record=bool(options.html)) as report:
        for call in calls_of(file, options.dtype).values():
            call("emulated")
    if not report.findings:
        with tt.cuda.check(blocks=0) as again:
            for most in (1, 2):
                with limited_blocks(most):
                    for call in calls_of(file, options.dtype, looping=True).values():
                        call("emulated")
        report.findings += again.findings
    if not kernel:
        return report
    kernels = [count for count in report.kernels if _bare(count.kernel) == kernel]
    return CheckReport([f for f in report.findings if _bare(f.kernel) == kernel], kernels)


def _bare(instance: str) -> str:
    return instance.partition("<")[0]


def _summary(exercise: str, report: CheckReport) -> str:
    """Summary with one line per kernel of a file."""
    by_name: dict[str, list[KernelCount]] = {}
    for count in report.kernels:
        by_name.setdefault(_bare(count.kernel), []).append(count)
    parts = [f"{exercise}.cu"]
    for finding in report.findings:
        parts += [f"  {finding}", f"    {finding.launched}"]
    for name, counts in by_name.items():
        lines = CheckReport(kernels=counts).lines
        moved = 32 * sum(line.sectors for line in lines)
        asked = sum(line.bytes for line in lines if line.space == "global")
        wavefronts, ideal = sum(line.wavefronts for line in lines), sum(line.ideal for line in lines)
        lanes, requests = sum(line.lanes for line in lines), sum(line.requests for line in lines)
        times = sum(c.times for c in counts)
        parts.append(
            f"  {name:<28} {times:>4} launch{'  ' if times == 1 else 'es'}"
            f"  {sum(c.bytes for c in counts):>10,} bytes"
            + (f"  {asked / moved:>5.0%} of sectors used" if moved else "")
            + (f"  {wavefronts / ideal:.2f} bank ways" if ideal else "")
            + (f"  {lanes / requests:.1f} lanes" if requests else "")
        )
    return "\n".join(parts)


# ---- files of the user -------------------------------------------------------------------------------------


def _check_launches(options: argparse.Namespace) -> tuple[Reports, dict[str, Any]]:
    """Check launches of the kernels of a .cu file; and fields with tensors and output."""
    if options.dtype:
        raise ArgumentError(
            f"{options.command}: --dtype with a file of yours",
            why="the tensors of --launch have dtypes of their own",
            fix="write zeros(1000, dtype=float16)",
        )
    tensors: dict[str, tt.Tensor] = {}
    checked = tt.cuda.check(blocks=options.blocks, record=bool(options.html))
    with printed(options.json) as output, checked as report:
        for text in required(options.kernel, options.launch):
            tensors |= parse_launch(Path(options.kernel), text).run()
        values = {name: x.detach().cpu() for name, x in tensors.items()}  # inside: finds unwritten elements
    for name, x in values.items():
        first = x.reshape(-1)[:SHOWN].tolist()
        shown = ", ".join([f"{v:.6g}" if isinstance(v, float | complex) else str(v) for v in first])
        tell(options, f"{name} = [{shown}]{' …' if x.size > SHOWN else ''}")
    tell(options, str(report))
    if not report.findings:
        compare = f"python -m tinytensor judge {options.kernel} --op NAME"
        tell(options, f"memory, races and barriers were checked, and no result was compared: {compare}")
    fields = {name: tensor_fields(x) for name, x in values.items()}
    return {options.kernel: report}, {"tensors": fields, "output": output.text}


def _check_script(options: argparse.Namespace) -> tuple[Reports, int, dict[str, Any]]:
    """Run a script as `__main__` under the checker: report, exit code, and fields of output and error."""
    path = options.kernel
    if not Path(path).is_file():
        raise ArgumentError(
            f"{options.command}: {path} does not exist",
            why="a name that ends in .py is a script",
            fix="check the path",
        )
    before = sys.argv, list(sys.path)
    sys.argv, sys.path[0] = [path, *options.arguments], str(Path(path).resolve().parent)
    code, fields = 0, dict[str, Any]()
    checked = tt.cuda.check(blocks=options.blocks, record=bool(options.html))
    try:
        with printed(options.json) as output, checked as report:
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        code = 130  # after the report of what ran
    except Exception as error:  # print uncaught exceptions of the script as Python does
        traceback.print_exc()
        fields["error"] = {"type": type(error).__name__, "what": str(error), "why": None, "fix": None}
        code = 1
    finally:
        sys.argv, sys.path[:] = before
    tell(options, str(report))
    return {path: report}, code, {"output": output.text, **fields}
