"""Command `python -m gpt quantize MODEL --kind=q4_0 --out=FILE.gguf`: pack weights in 4 to 8 bits."""

from collections.abc import Sequence
from pathlib import Path

import tinytensor as tt
from gpt.console import Parser, command
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_count
from gpt.tokenizers.base import Tokenizer
from gpt.weights.gguf_format.calibration import calibrated
from gpt.weights.gguf_format.reader import entries_of
from gpt.weights.gguf_format.writer import MIXTURES, save_gguf
from gpt.weights.pretrained import from_pretrained
from gpt.weights.sources import open_source
from gpt.weights.trained import require_tokenizer
from tinytensor.errors import ArgumentError
from tinytensor.files import read_text


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt quantize MODEL --kind=KIND --out=FILE.gguf`."""
    parser = Parser(
        prog="python -m gpt quantize",
        description="Pack the weights of a model in 4 to 8 bits each, into a GGUF file, which all commands "
        "here and llama.cpp read (docs/quantization.md). Weights that are packed are unpacked first.",
    )
    parser.add_argument("model", help="run directory, smollm2, or anything that import takes")
    kinds = [*tt.QUANTIZED, *MIXTURES]
    parser.add_argument("--kind", required=True, choices=kinds, help="of the matrices; _m: some have 5 bits")
    parser.add_argument("--out", required=True, metavar="FILE.gguf", help="the new file")
    parser.add_argument(
        "--calibrate", metavar="TEXT", help="a text file such as the model is for: rounding errors are moved "
        "to where they change its products least"
    )  # fmt: skip
    parser.add_argument(
        "--tokens", type=int, default=8192, metavar="N", help="of that text, to be read; default 8192"
    )
    args = parser.parse_args(argv)
    if Path(args.out).suffix != ".gguf":
        raise ArgumentError(
            f"quantize: --out={args.out}",
            why="a GGUF file is written, which commands recognize by its suffix",
            fix=f"write --out={args.out}.gguf",
        )
    found = open_source(args.model).path
    model, tokenizer = from_pretrained(args.model)
    packed = None
    if args.calibrate is not None:
        words = require_tokenizer(tokenizer, "quantize", args.model)
        packed = calibrated(model, _ids(words, args.calibrate, args.tokens), args.kind)
    about = entries_of(found) if found.suffix == ".gguf" else {}
    counts = save_gguf(model, args.out, tokenizer, dtype=args.kind, packed=packed, about=about)
    print(f"wrote {args.out}\n{_table(model, counts)}")
    print(f"next   {command('eval', args.out, '--data=FILE')}")
    return 0


def _ids(tokenizer: Tokenizer, text: str, tokens: int) -> list[int]:
    if tokens < 1:
        raise ArgumentError(
            f"quantize: --tokens={tokens}", why="it counts tokens of the text", fix="use --tokens=8192"
        )
    return tokenizer.encode(read_text(text, "quantize"))[:tokens]


def _table(model: GPT, counts: dict[str, tuple[int, int, int]]) -> str:
    """Tensors, values, bytes and bits per value of each kind, and of all."""
    whole = [sum(column) for column in zip(*counts.values(), strict=True)]
    rows = [(kind, *numbers) for kind, numbers in counts.items()] + [("all", *whole)]
    lines = [f"{'kind':<8}{'tensors':>8}{'values':>14}{'MiB':>9}{'bits':>7}"]
    lines += [
        f"{kind:<8}{tensors:>8}{values:>14,}{size / 2**20:>9.1f}{8 * size / values:>7.2f}"
        for kind, tensors, values, size in rows
    ]
    floats = 4 * parameter_count(model.config)
    return "\n".join([*lines, f"{'float32':<8}{'':>22}{floats / 2**20:>9.1f}{32:>7.2f}"])
