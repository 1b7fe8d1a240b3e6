"""Command `python -m gpt export RUN`: write a trained model in a format of other libraries."""

from collections.abc import Sequence
from pathlib import Path

from gpt.console import Parser, note
from gpt.tokenizers.bpe import BPETokenizer
from gpt.weights.gguf_format.writer import save_gguf
from gpt.weights.pretrained import from_pretrained, save_pretrained, save_single
from gpt.weights.weight_tensor import DTYPES
from tinytensor.errors import ArgumentError

_SINGLE = ("safetensors", "gguf")  # formats of one file


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt export RUN --out=PATH`."""
    parser = Parser(
        prog="python -m gpt export",
        description="Write the model of a run for other programs. safetensors-hf: a folder that transformers "
        "reads, for models of GPT-2's or Llama's architecture; safetensors: one file with our names and the "
        "config inside, for any model; gguf: one file with the tokenizer inside, which llama.cpp reads.",
    )
    parser.add_argument("run", help="run directory, or anything that import takes")
    parser.add_argument("--out", required=True, metavar="PATH", help="the new folder or file")
    parser.add_argument("--format", default="safetensors-hf", choices=["safetensors-hf", *_SINGLE])
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES), help="of the written weights")
    args = parser.parse_args(argv)
    out = Path(args.out)
    if args.format in _SINGLE and out.suffix != f".{args.format}":
        raise ArgumentError(
            f"export: --out={out} with --format={args.format}",
            why="a single file is written, which import recognizes by its suffix",
            fix=f"write --out={out}.{args.format}",
        )
    model, tokenizer = from_pretrained(args.run)
    if args.format == "safetensors":
        save_single(model, out, dtype=args.dtype)
    elif args.format == "gguf":
        save_gguf(model, out, tokenizer, dtype=args.dtype)
    else:
        save_pretrained(model, out, tokenizer, dtype=args.dtype)
        if tokenizer is not None and not isinstance(tokenizer, BPETokenizer):
            note(f"transformers reads the weights, but not the tokenizer, a {type(tokenizer).__name__}")
    print(f"wrote {out}: {model.num_parameters():,} parameters in {args.dtype}")
    return 0
