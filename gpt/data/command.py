"""Command `python -m gpt data prepare`, and the public functions of `gpt.data`.

Independent of models.
"""

from collections.abc import Sequence
from importlib import resources

from gpt.console import Parser
from gpt.data.prepare import prepare, prepare_text, read_texts
from gpt.tokenizers.tokenizer import choose
from tinytensor.errors import ArgumentError


def embedded_shakespeare() -> str:
    """Text of the embedded corpus: eight plays, 1,097,264 ASCII characters.

    Source: see gpt/text/README.md.

    Example:
        >>> embedded_shakespeare()[:14]
        'First Citizen:'
    """
    return (resources.files("gpt") / "text" / "shakespeare.txt").read_text(encoding="ascii")


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt data prepare [FILE|FOLDER…] --out FOLDER`."""
    args = _parser().parse_args(argv)
    if args.paths:
        pattern = args.pattern or "*.txt"
        tokenizer = choose(args.tokenizer, read_texts(args.paths, pattern))
        made = prepare(args.paths, tokenizer, args.out, val_fraction=args.val_fraction, pattern=pattern)
    elif args.pattern:
        raise ArgumentError("prepare: --pattern", why="it selects files in folders", fix="give a folder")
    else:
        text = embedded_shakespeare()
        made = prepare_text(text, choose(args.tokenizer, text), args.out, val_fraction=args.val_fraction)
    print(*filter(None, made), sep="\n")
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m gpt data", description="Turn texts into token files.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    make = commands.add_parser("prepare", help="write train.bin, val.bin, tokenizer.json and meta.json")
    make.add_argument("paths", nargs="*", metavar="PATH", help="text files or folders; default: Shakespeare")
    make.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    make.add_argument("--tokenizer", default="char", help="char, or a saved tokenizer; default: char")
    make.add_argument("--val-fraction", type=float, default=0.1, metavar="F", help="default: 0.1, the end")
    make.add_argument("--pattern", metavar="GLOB", help="which files of folders; default: *.txt")
    return parser
