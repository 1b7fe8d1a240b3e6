"""`python -m tinytensor check`: runs kernels under the memory and race checker and prints a report."""

from __future__ import annotations

import argparse
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import tinytensor as tt
from tinytensor.commands.exercises import EXERCISES, LOOPING, run
from tinytensor.commands.json_output import SHOWN, printed, report_fields, tensor_fields, write_json
from tinytensor.commands.larger_calls import Tensors, larger_of
from tinytensor.commands.launch_expression import parse_launch, required
from tinytensor.commands.options import parser
from tinytensor.dispatch.launch import limited_blocks
from tinytensor.emulator.check.counts import KernelCount
from tinytensor.emulator.check.report import CheckReport
from tinytensor.errors import ArgumentError
from tinytensor.lab.html import write
from tinytensor.lab.kernels.kernel_view import replay_of
from tinytensor.op_table import Row
from tinytensor.runtime.cuda.nvrtc import signatures
from tinytensor.runtime.kernel_files import kernel_files

BLOCKS, OWN_BLOCKS = 4, 64  # counted in each launch
MMA = "_mma"  # suffix of the files that use tensor cores
TENSOR_CORES = (MMA, "_sm90")
FLOATS = ("float32", "float64", "float16", "bfloat16")
OnDevice = Callable[[str], Tensors]


def main(words: Sequence[str], command: str = "check", **defaults: Any) -> int:
    """Check the named kernels or script; returns 1 if a defect was found. `defaults`: of options."""
    options = _options(list(words), command, defaults)
    if options.blocks is None:
        options.blocks = OWN_BLOCKS if options.launch else BLOCKS
    if options.kernel.endswith(".py"):
        return _check_script(options)
    if options.kernel.endswith(".cu") and (options.launch or Path(options.kernel).is_file()):
        return _check_launches(options)
    if options.launch:
        raise ArgumentError(
            f"{command}: --launch with {options.kernel}",
            why="it launches a kernel of a .cu file; those of the engine have launches of their own",
            fix="name your file, or leave --launch out",
        )
    if options.arguments:
        raise ArgumentError(
            f"{command}: {options.arguments} behind {options.kernel}",
            why="only a script has arguments of its own",
            fix=f"python -m tinytensor {command} {options.kernel} [options]",
        )
    whole = options.kernel == "all"
    if whole and options.html:
        raise ArgumentError(
            f"{command}: all with --html",
            why="a page shows the kernels of one file",
            fix="name the file, or a kernel",
        )
    wanted = dict.fromkeys(kernel_files(".cu"), "") if whole else _found(options.kernel, command)
    findings, reports = 0, {}
    for file, kernel in wanted.items():
        report = _checked(file, options)
        if kernel:
            report = _only(report, kernel)
        findings += len(report.findings)
        reports[file] = report
        if report.kernels and not options.json:
            print(_summary(file, report) if whole else report, flush=True)
    if whole and not options.json:
        print(f"\n{len(wanted)} files, {findings} finding{'' if findings == 1 else 's'}")
    _write_page(options, report)
    if options.json:
        write_json("check", reports={name: report_fields(report) for name, report in reports.items()})
    return 1 if findings else 0


def replay(words: Sequence[str]) -> int:
    """`python -m tinytensor replay`: a check of one block of each launch, with a page that replays it."""
    return main(words, "replay", blocks=1, html="replay.html")


def calls_of(file: str, wanted: str | None = None, *, looping: bool = False) -> dict[str, OnDevice]:
    """What `check` runs for a .cu file, by names: functions of the device.

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


def _checked(file: str, options: argparse.Namespace) -> CheckReport:
    """Run the calls of a file; then again with few blocks, so that each block has several rows or tiles."""
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
    return report


def _options(words: list[str], command: str, defaults: dict[str, Any]) -> argparse.Namespace:
    """Parse the arguments. Options may follow a kernel; after a script, they are passed to the script."""
    made = _parser(command)
    made.set_defaults(command=command, **defaults)
    options = made.parse_args(words)
    behind = options.arguments
    if not options.kernel.endswith(".py") and behind and behind[0].startswith("-"):
        at = len(words) - len(behind) - 1  # of the kernel
        return made.parse_args([*words[:at], *behind, words[at]])
    return options


def _parser(command: str) -> argparse.ArgumentParser:
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
    script = made.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    script.required = False  # else an error names it among what is missing
    made.add_argument(
        "--dtype",
        choices=FLOATS,
        help=f"of the inputs (default: float32; for files that end in {' or '.join(TENSOR_CORES)} bfloat16)",
    )
    made.add_argument(
        "--blocks",
        type=_number_of_blocks,
        help=f"blocks of each launch that are counted (default: {BLOCKS}; with --launch {OWN_BLOCKS})",
    )
    return made


def _number_of_blocks(word: str) -> int:
    """Argparse type of `--blocks`."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 0 on")
    return int(word)


def _found(name: str, command: str) -> dict[str, str]:
    """Exercises that launch a kernel or the kernels of a file, with the name of the kernel to report."""
    files = kernel_files(".cu")
    if (stem := name.removesuffix(".cu")) in files:
        return {stem: ""}
    kernels = {stem: signatures(path) for stem, path in files.items()}
    if found := {stem: name for stem in files if name in kernels[stem]}:
        return found
    near = get_close_matches(name, {*files, *chain(*kernels.values())}, n=1)
    raise ArgumentError(
        f"{command}: there is no kernel {name!r}",
        why=f"the files are {', '.join(files)}",
        fix=(f"did you mean {near[0]}? " if near else "")
        + "name one of them, a kernel in one of them, all, or a script that ends in .py",
    )


def _only(report: CheckReport, kernel: str) -> CheckReport:
    """Report restricted to all instances of one kernel."""
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
        parts.append(
            f"  {name:<28} {_launches(sum(c.times for c in counts))}"
            f"  {sum(c.bytes for c in counts):>10,} bytes"
            + (f"  {asked / moved:>5.0%} of sectors used" if moved else "")
            + (f"  {wavefronts / ideal:.2f} bank ways" if ideal else "")
            + (f"  {lanes / requests:.1f} lanes" if requests else "")
        )
    return "\n".join(parts)


def _launches(times: int) -> str:
    return f"{times:>4} launch{'  ' if times == 1 else 'es'}"


def _check_launches(options: argparse.Namespace) -> int:
    """Check launches of the kernels of a .cu file."""
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
    if not options.json:
        for name, x in values.items():
            print(f"{name} = {x.reshape(-1)[:SHOWN].tolist()}{' …' if x.size > SHOWN else ''}")
        print(report)
    _write_page(options, report)
    if options.json:
        fields = {name: tensor_fields(x) for name, x in values.items()}
        reports = {options.kernel: report_fields(report)}
        write_json("check", reports=reports, tensors=fields, output=output.text)
    return 1 if report.findings else 0


def _write_page(options: argparse.Namespace, report: CheckReport) -> None:
    """Write the replay, if one was asked for: before a JSON object, since an error is an object, too."""
    if options.html:
        write(options.html, replay_of(report).html())
        print(f"wrote {options.html}", file=sys.stderr if options.json else sys.stdout)


def _check_script(options: argparse.Namespace) -> int:
    """Run a script as `__main__` under the checker; with --json, what it prints is a field of the object."""
    path, as_json = options.kernel, options.json
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
        with printed(as_json) as output, checked as report:
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:  # print uncaught exceptions of the script as Python does
        traceback.print_exc()
        fields["error"] = {"type": type(error).__name__, "what": str(error), "why": None, "fix": None}
        code = 1
    finally:
        sys.argv, sys.path[:] = before
        if not as_json:
            print(report)
        _write_page(options, report)
        if as_json:
            write_json("check", reports={path: report_fields(report)}, output=output.text, **fields)
    return code or (1 if report.findings else 0)
