"""Command line entry point, `python -m tinytensor COMMAND …`: runs a command and returns its exit code."""

import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from tinytensor.errors import ArgumentError, TinyTensorError, nearest

__all__ = ["main"]

EXIT_ERROR, EXIT_PIPE, EXIT_INTERRUPT = 2, 1, 130

# Command name → its module (and its function, if that is not `main`), and its line in the help.
COMMANDS = {
    "info": ("tinytensor.commands.info", "versions, devices, compilers, caches and switches"),
    "build": ("tinytensor.commands.build", "compile the C++ kernels of the CPU ahead, on all processors"),
    "explain": ("tinytensor.commands.explain", "how a tensor lies in memory, call by call"),
    "check": ("tinytensor.commands.check", "kernels, or a script, with every access watched and counted"),
    "run": ("tinytensor.commands.run", "a CUDA program, compiled and run on the CPU"),
    "replay": ("tinytensor.commands.check:replay", "kernels, or a script, step by step, on a page"),
    "selftest": ("tinytensor.commands.selftest", "every kernel on every device, compared with NumPy"),
    "kernel": ("tinytensor.commands.kernel", "the kernels behind an op: source, registers, memory accesses"),
    "mcp": ("tinytensor.commands.mcp", "these commands as tools for coding agents"),
    "puzzles": (
        "tinytensor.commands.puzzles",
        "puzzles about CUDA kernels, strides and gradients; your progress",
    ),
    "puzzle": ("tinytensor.commands.puzzles", "puzzle N: its text, and the file to fill in"),
    "judge": ("tinytensor.commands.judge", "a kernel of yours, against a puzzle or an op"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the command line.

    Args:
        argv: command line arguments; default: those of this process.

    Returns:
        The exit code: that of the command, 2 after a reported error, 130 after Ctrl-C.

    >>> main(["--help"])  # doctest: +ELLIPSIS
    python -m tinytensor: look into the engine...
    0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # terminals without µ: replace it
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(words)
        print(end="", flush=True)  # raises if standard output is closed
    except KeyboardInterrupt:
        return EXIT_INTERRUPT
    except SystemExit as end:  # argparse wrote why on standard error, or the help on standard output
        if end.code == EXIT_ERROR:
            what, fix = f"{words[0]}: wrong options", f"python -m tinytensor {words[0]} --help"
            _write_error(words, ArgumentError(what, why="standard error says which", fix=fix))
        raise
    except BrokenPipeError:  # `… | head` closed the pipe
        _forget_output()
        return EXIT_PIPE
    except TinyTensorError as error:
        print(f"error: {error}", file=sys.stderr)
        _write_error(words, error)
        return EXIT_ERROR
    except OSError as error:
        told = ArgumentError(
            f"{' '.join(words[:1]) or 'help'}: {error}",
            why="the file system refused",
            fix="check the path, its permissions, and the space on the disk",
        )
        print(f"error: {told}", file=sys.stderr)
        with suppress(OSError):  # of standard output
            _write_error(words, told)
        _forget_output()
        return EXIT_ERROR
    return code


def _write_error(words: list[str], error: TinyTensorError) -> None:
    """With --json, print the object of an error; what follows -- is for a program."""
    if "--json" in words[: [*words, "--"].index("--")]:
        from tinytensor.commands.json_output import error_fields, write_json

        write_json(words[0], error=error_fields(error))


def _forget_output() -> None:
    """Redirect standard output to the null device: flushing it at exit would fail again."""
    if sys.stdout is None:  # closed before Python started
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        near = nearest(name, COMMANDS)
        raise ArgumentError(
            f"{name}: no such command",
            why=f"there are {', '.join(COMMANDS)}",
            fix=f"did you mean `python -m tinytensor {near}`?" if near else "see python -m tinytensor --help",
        )
    module, _, function = COMMANDS[name][0].partition(":")
    return int(getattr(importlib.import_module(module), function or "main")(rest))


def _help() -> str:
    """The help page."""
    commands = "\n".join(f"  {name:<9} {about}" for name, (_, about) in COMMANDS.items())
    return f"""python -m tinytensor: look into the engine.

usage: python -m tinytensor COMMAND [options]

commands
{commands}

examples
  python -m tinytensor explain "arange(12).reshape(3, 4).T[1:, ::2]"
  python -m tinytensor check softmax
  python -m tinytensor check all
  python -m tinytensor check my_script.py
  python -m tinytensor run vector_add.cu --check
  python -m tinytensor replay softmax_forward
  python -m tinytensor selftest --device cuda

python -m tinytensor COMMAND --help explains a command."""


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # of tinytensor/__init__.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
