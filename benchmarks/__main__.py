"""`python -m benchmarks COMMAND`: runs a benchmark, prints a table and writes it to benchmarks/results/."""

import json
import os
import sys
from collections.abc import Sequence

from benchmarks import commands
from benchmarks.contest.contestants import BenchmarkError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command-line arguments; those of this process if None. Without any, the commands are listed.

    Returns:
        Exit code 0; 1 if the reader of standard output is gone; 2 if results disagree or a file cannot be
        used; 130 after Ctrl-C.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            print(end="", flush=True)  # raises if standard output is closed, also after --help
    except BrokenPipeError:  # `… | head` closed the pipe; flushing it at exit would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    options = commands.parser(__doc__).parse_args(words or ["--help"])
    made = commands.COMMANDS[options.command].run(options)
    if isinstance(made, str):
        print(made)
        return 0
    for report in made:
        path = report.write(options.out)
        if options.json:
            print(json.dumps(report.to_dict()), flush=True)
        else:
            print(f"{report.table()}\n\nwritten: {path}\n", flush=True)
    if options.command == "quick":
        options.files = []
        print(end="" if options.json else f"{commands.page(options).splitlines()[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
