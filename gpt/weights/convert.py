"""Command `python -m gpt convert SRC DST`: write a model in another format, or pack it in 4 to 8 bits."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import tinytensor as tt
from gpt.console import Parser, command, note
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.weights.gguf_format.reader import GgufFile
from gpt.weights.gguf_format.writer import save_gguf
from gpt.weights.load import load, open_source
from gpt.weights.save import Dtype, save_pretrained, save_single, write_run
from gpt.weights.weight_tensor import DTYPES
from tinytensor.errors import ArgumentError

_FILES = ("safetensors", "gguf")  # formats of one file


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt convert SRC DST`."""
    args = _parser().parse_args(argv)
    form = args.format or next((form for form in _FILES if args.dst.endswith(f".{form}")), "run")
    for wrong, what, why, fix in (
        (
            form in _FILES and Path(args.dst).suffix != f".{form}",
            f"{args.dst} with --format={form}",
            "a single file is written, which commands recognize by its suffix",
            f"name it {args.dst}.{form}",
        ),
        (
            args.quantize is not None and form != "gguf",
            f"--quantize={args.quantize} with {args.dst}",
            "only GGUF files have packed weights, and commands recognize them by their suffix",
            f"name it {args.dst}.gguf",
        ),
        (
            args.dtype is not None and (form == "run" or args.quantize is not None),
            f"--dtype={args.dtype} with " + ("--quantize" if args.quantize else "a run directory"),
            "a run keeps float32, and --quantize is a dtype of its own",
            "leave one out, or choose another --format",
        ),
    ):
        if wrong:
            raise ArgumentError(f"convert: {what}", why=why, fix=fix)
    model, tokenizer = load(args.src, block_size=args.block_size)
    _write(args, form, model, tokenizer)
    size = f", {Path(args.dst).stat().st_size / 2**20:,.1f} MiB" if form in _FILES else ""
    words = "no tokenizer" if tokenizer is None else repr(tokenizer)
    print(f"wrote {args.dst}: {model.num_parameters():,} parameters, {words}{size}")
    if args.quantize is not None:
        print(f"next   {command('eval', args.dst, '--data=FILE')}")
    elif tokenizer is not None:
        print(f"next   {command('sample', args.dst, '--prompt=The')}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m gpt convert",
        description="Write a model in another format. run: a run directory, on which all commands work, and "
        "from which training starts; hf: a folder that transformers reads, for models of GPT-2's or Llama's "
        "architecture; safetensors: one file with our names and the config inside, for any model; gguf: one "
        "file with the tokenizer inside, which llama.cpp reads, too (docs/quantization.md).",
    )
    parser.add_argument(
        "src", metavar="SRC", help="run, folder, .safetensors or .gguf file, smollm2, hub name"
    )
    parser.add_argument("dst", metavar="DST", help="the new folder or file")
    formats = ["run", "hf", *_FILES]
    parser.add_argument("--format", choices=formats, help="default: by the suffix of DST; a folder is a run")
    parser.add_argument("--dtype", choices=list(DTYPES), help="of the written weights; default float32")
    parser.add_argument("--quantize", choices=list(tt.QUANTIZED), help="bits of the matrices in GGUF")
    parser.add_argument("--block_size", type=int, default=0, help="a shorter context than the model's")
    return parser


def _write(args: Namespace, form: str, model: GPT, tokenizer: Tokenizer | None) -> None:
    """Write the model."""
    dtype: Dtype = args.dtype or "float32"
    if form == "run":
        write_run(model, tokenizer, args.dst, "convert")
    elif form == "safetensors":
        save_single(model, args.dst, dtype=dtype)
    elif form == "hf":
        save_pretrained(model, args.dst, tokenizer, dtype=dtype)
        if tokenizer is not None and not isinstance(tokenizer, BPETokenizer):
            note(f"transformers reads the weights, but not the tokenizer, a {type(tokenizer).__name__}")
    else:
        source = open_source(args.src)
        about = source.about() if isinstance(source, GgufFile) else {}
        save_gguf(model, args.dst, tokenizer, dtype=args.quantize or dtype, about=about)
