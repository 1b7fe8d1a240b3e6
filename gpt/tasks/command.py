"""Command `python -m gpt tasks`: lists the tasks, or writes problems as training data."""

import json
from collections.abc import Callable, Sequence

from gpt.console import Parser, counted
from gpt.tasks.base import SPLITS, Problem
from gpt.tasks.prompts import PLAIN
from gpt.tasks.registry import TASKS, task
from tinytensor.errors import ArgumentError
from tinytensor.files import atomic_write

FORMS: dict[str, Callable[[Problem], str]] = {
    "jsonl": lambda p: json.dumps({"instruction": p.question, "output": p.solution}),
    "text": lambda p: f"{PLAIN.format(p.question)}{p.solution}",
}


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt tasks [NAME…] [--count N] [--split SPLIT] [--out FILE]`."""
    parser = Parser(prog="python -m gpt tasks", description="Problems with answers that a program verifies.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TASKS) + "; default: list them")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="of each task; default: 10")
    parser.add_argument("--split", choices=SPLITS, default="train", help="default: train")
    parser.add_argument(
        "--form", choices=FORMS, default="jsonl", help="text: as `train` reads it; default: jsonl"
    )
    parser.add_argument("--out", metavar="FILE", help="default: standard output")
    args = parser.parse_args(argv)
    if args.count < 1:
        raise ArgumentError(f"tasks: --count={args.count}", why="it counts problems", fix="use --count=10")
    if args.names:
        problems = (task(name).problem(i, args.split) for i in range(args.count) for name in args.names)
        lines = (FORMS[args.form](problem) for problem in problems)  # one at a time: there may be millions
    else:
        lines = (f"{one.name:<11} {one.about}; chance {one.chance:.1%}" for one in TASKS.values())
    if args.out is None:
        for line in lines:
            print(line)
        return 0
    written = 0
    with atomic_write(args.out) as file:
        for line in lines:
            written += 1
            file.write(f"{line}\n".encode())
    print(f"{counted(written, 'problem')} in {args.out}")
    return 0
