"""Loading of any saved tokenizer, and the command `python -m gpt tokenizer`.

Subcommands: train, encode, decode. Independent of models and training data.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gpt.console import Parser, progress_bar
from gpt.tokenizers.base import END_OF_TEXT, Texts, Tokenizer, unusable
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, END
from gpt.tokenizers.hf_json import parse_tokenizer_json, read_gpt2_files
from gpt.tokenizers.tiktoken_file import is_rank_file
from gpt.tokenizers.tokenizer_config import read_config
from tinytensor.errors import ArgumentError, FormatError
from tinytensor.files import PathLike, read_bytes, read_json, text_chunks

CHAT_TOKENS = (END_OF_TEXT, BEGIN, END)  # what --special=chat stands for

# File names of GPT-2's vocabulary.
_GPT2_FILES = [("vocab.bpe", "encoder.json"), ("merges.txt", "vocab.json")]


def load(path: PathLike) -> Tokenizer:
    """Load a tokenizer of any kind.

    Args:
        path: a file that `save` wrote, a byte-level BPE `tokenizer.json` of Hugging Face, a rank file of
            `tiktoken` (`cl100k_base.tiktoken`, also .gz, or Llama 3's `tokenizer.model`), or a folder with
            one of them, or with GPT-2's `vocab.bpe` and `encoder.json`. The chat template is read from
            `tokenizer_config.json` next to `tokenizer.json`, if there is one.

    Raises:
        ArgumentError: the file cannot be read.
        FormatError: damaged, or a kind of tokenizer that would produce other ids here.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tokenizer.json"
        >>> CharTokenizer("abc").save(path)
        >>> load(path).encode("cab")
        [2, 0, 1]
    """
    path = Path(path)
    tokenizer = _loaded(path)
    if isinstance(tokenizer, BPETokenizer) and (path.is_dir() or path.name == "tokenizer.json"):
        read_config(tokenizer, path if path.is_dir() else path.parent)
    return tokenizer


def _loaded(path: Path) -> Tokenizer:
    """Tokenizer of a file or folder, without its tokenizer_config.json."""
    for merges, vocab in _GPT2_FILES:
        if (path / merges).exists() and (path / vocab).exists():
            parts = read_gpt2_files(path / merges, path / vocab, END_OF_TEXT)
            with _complaints_about(path):
                return BPETokenizer(*parts)
    if path.is_dir():
        models = [path / name for name in ("tokenizer.json", "tokenizer.model")]
        path = next((model for model in models if model.exists()), models[0])
    if is_rank_file(read_bytes(path, "load")):  # such as Llama 3's tokenizer.model
        with _complaints_about(path):
            return BPETokenizer.from_ranks(path)
    if path.suffix == ".model":
        raise unusable(
            path,
            "it is a model of SentencePiece, whose tokenizers were removed",
            "a tokenizer",
            "use a model with byte-level BPE, such as Llama 3, or train one: python -m gpt tokenizer train",
        )
    description = read_json(path, "load")
    with _complaints_about(path):
        return _from_json(description, path)


@contextmanager
def _complaints_about(path: Path) -> Iterator[None]:
    """Convert errors of the constructors (missing ids, unknown merges) to FormatError for a file."""
    try:
        yield
    except ArgumentError as error:
        raise unusable(path, f"{error.what}: {error.why}", fix=error.fix) from None


def _from_json(description: Mapping[str, object], path: Path) -> Tokenizer:
    """Tokenizer from a JSON object."""
    if description.get("format") == CharTokenizer.FORMAT:
        return CharTokenizer.from_json(description, path)
    if "model" in description:
        return BPETokenizer(*parse_tokenizer_json(description, path))
    raise unusable(
        path,
        f"it has neither 'model' nor a known 'format'; its fields are {list(description)[:8]}",
        "a tokenizer",
        "give a file that tokenizer.save(path) wrote, or a Hugging Face tokenizer.json",
    )


def choose(name: str, texts: Texts) -> Tokenizer:
    """Tokenizer "char", trained on the texts; or one of a path, as `load` reads it."""
    return CharTokenizer.train(texts) if name == "char" else load(name)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt tokenizer train|encode|decode`."""
    args = _parser().parse_args(argv)
    {"train": _train, "encode": _encode, "decode": _decode}[args.command](args)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m gpt tokenizer", description="Train a tokenizer, or look at what it does.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="learn a vocabulary from text files")
    train.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 text")
    train.add_argument("--kind", choices=["bpe", "char"], default="bpe", help="default: bpe")
    train.add_argument("--vocab-size", type=int, metavar="N", help="number of tokens (needed for bpe)")
    train.add_argument(
        "--special",
        action="append",
        metavar="TEXT",
        help=f"a special token; chat: {END_OF_TEXT} and the two of conversations, {BEGIN} "
        f"and {END}; default: {END_OF_TEXT} for bpe, none for char",
    )
    train.add_argument("--out", default="tokenizer.json", metavar="PATH", help="default: tokenizer.json")
    for name, about, operand, many, what in (
        ("encode", "print the ids of a text", "text", "?", "standard input if left out"),
        ("decode", "print the text of ids", "ids", "*", "standard input if left out"),
    ):
        each = commands.add_parser(name, help=about)
        each.add_argument("tokenizer", metavar="TOKENIZER", help="a saved tokenizer")
        each.add_argument(operand, nargs=many, metavar=operand.removesuffix("s").upper(), help=what)
        if name == "encode":
            each.add_argument(
                "--special", action="store_true", help="special tokens in the text become their id"
            )
    return parser


def _train(args: argparse.Namespace) -> None:
    texts = (text for file in args.files for text in text_chunks(file, "train"))
    tokenizer: Tokenizer
    special = [t for name in args.special or [] for t in (CHAT_TOKENS if name == "chat" else [name])]
    if args.kind == "char":
        if args.vocab_size is not None:
            raise ArgumentError(
                "train: --vocab-size with --kind char",
                why="a character tokenizer has exactly the characters of the text",
                fix="leave --vocab-size out",
            )
        tokenizer = CharTokenizer.train(texts, special_tokens=special)
    else:
        if args.vocab_size is None:
            raise ArgumentError(
                "train: --vocab-size is missing",
                why="byte-pair encoding merges until the vocabulary has this size",
                fix="add --vocab-size 1024 for a small text; GPT-2 has 50257",
            )
        with progress_bar("merges", args.vocab_size - 256) as progress:
            tokenizer = BPETokenizer.train(
                texts, args.vocab_size, special_tokens=special or [END_OF_TEXT], progress=progress
            )
    tokenizer.save(args.out)
    if args.vocab_size is not None and tokenizer.vocab_size < args.vocab_size:
        print(f"the text has only {tokenizer.vocab_size:,} tokens that are frequent enough")
    print(f"wrote {args.out}: {tokenizer!r}")


def _encode(args: argparse.Namespace) -> None:
    tokenizer = load(args.tokenizer)
    text = _stdin() if args.text is None else args.text
    if not args.special:
        ids = tokenizer.encode(text)
    elif isinstance(tokenizer, BPETokenizer):
        ids = tokenizer.encode(text, allowed_special="all")
    else:
        raise ArgumentError("encode: --special", why=f"{tokenizer!r} has none", fix="leave --special out")
    print(*ids)


def _decode(args: argparse.Namespace) -> None:
    tokenizer = load(args.tokenizer)
    words = args.ids or _stdin().split()
    try:
        ids = [int(word) for word in words]
    except ValueError as error:
        raise ArgumentError(
            "decode: not an id", why=str(error), fix="pass integers, as encode prints"
        ) from None
    # A final newline only on a terminal: piped output is the exact text.
    print(tokenizer.decode(ids), end="\n" if sys.stdout.isatty() else "")


def _stdin() -> str:
    """All of standard input as text, line ends untouched."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            "standard input is not UTF-8",
            why=f"the byte at offset {error.start} belongs to no character",
            fix="convert it first, for example with: iconv -f latin1 -t utf-8",
        ) from None
