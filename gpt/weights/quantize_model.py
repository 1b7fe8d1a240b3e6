"""Command `python -m gpt quantize MODEL --kind=q4_0 --out=FILE.gguf`: pack weights in 4 to 8 bits."""

from collections.abc import Sequence
from pathlib import Path

import tinytensor as tt
from gpt.console import Parser, command
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_count
from gpt.weights.gguf_format.reader import entries_of
from gpt.weights.gguf_format.writer import MIXTURES, save_gguf
from gpt.weights.pretrained import from_pretrained
from gpt.weights.sources import open_source
from tinytensor.errors import ArgumentError


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
    args = parser.parse_args(argv)
    if Path(args.out).suffix != ".gguf":
        raise ArgumentError(
            f"quantize: --out={args.out}",
            why="a GGUF file is written, which commands recognize by its suffix",
            fix=f"write --out={args.out}.gguf",
        )
    found = open_source(args.model).path
    model, tokenizer = from_pretrained(args.model)
    about = entries_of(found) if found.suffix == ".gguf" else {}
    counts = save_gguf(model, args.out, tokenizer, dtype=args.kind, about=about)
    print(f"wrote {args.out}\n{_table(model, counts)}")
    print(f"next   {command('eval', args.out, '--data=FILE')}")
    return 0


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
