"""Command `python -m gpt info PATH`: the tensors of a weight file, from its header."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.console import Parser, columns
from gpt.fields import to_dict
from gpt.weights.hf_names import Place, places
from gpt.weights.load import open_source
from gpt.weights.source import Source
from gpt.weights.weight_tensor import Stored, tensors_of
from tinytensor.interop.safetensors_file import read_safetensors

_BLOCK = re.compile(r"(?<![\w.])((?:transformer\.|model\.)?(?:h|layers|blk))\.\d+\.")


def inventory(tensors: Mapping[str, Stored]) -> str:
    """Table of tensors: name, shape, strides, dtype, bytes; a line for all blocks.

    Example:
        >>> from tinytensor.interop.safetensors_file import Entry
        >>> from gpt.weights.weight_tensor import stored
        >>> tensors = {f"h.{n}.w": stored(Entry("F32", np.ones((2, 3), np.float32)), "w") for n in range(4)}
        >>> print(inventory(tensors))
        tensor  blocks  shape   strides  dtype  bytes
        h.N.w   4       (2, 3)  (3, 1)   F32       96
    """
    lines: dict[tuple[str, str, str, str], list[int]] = {}
    for name, tensor in tensors.items():
        strides = "blocks" if tensor.strides is None else str(tensor.strides)
        key = (_BLOCK.sub(r"\1.N.", name), str(tensor.shape), strides, tensor.dtype)
        lines.setdefault(key, []).append(tensor.array.nbytes)
    rows = [
        (shown, str(len(sizes)) if len(sizes) > 1 else "", *rest, f"{sum(sizes):,}")
        for (shown, *rest), sizes in lines.items()
    ]
    return columns([("tensor", "blocks", "shape", "strides", "dtype", "bytes"), *rows], right=(5,))


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt info PATH`."""
    parser = Parser(
        prog="python -m gpt info",
        description="List the tensors of a model's file: names, shapes, strides, dtypes, bytes. Only headers "
        "are read; `plan` counts parameters by group.",
    )
    parser.add_argument("path", help="run directory, folder, .safetensors or .gguf file, or a hub name")
    args = parser.parse_args(argv)
    try:
        source = open_source(args.path)
    except tt.FormatError as error:
        if not (args.path.endswith(".safetensors") and Path(args.path).is_file()):
            raise
        print(inventory(tensors_of(read_safetensors(args.path))))
        print(f"\nnot a model: {error.what}: {error.why}")
        return 0
    print(f"{source.path}: the names of {source.naming.title}")
    print("  " + ", ".join(_differing(source.config)))
    print(f"\n{inventory(_in_order(source))}")
    return 0


def _differing(config: GPTConfig) -> list[str]:
    """Sizes of a model, and options that differ from GPT-2's."""
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    return [f"{name}={value}" for name, value in to_dict(config).items() if value != usual[name]]


def _in_order(source: Source) -> dict[str, Stored]:
    """Tensors in the order of the forward pass, with unused ones last."""
    order = {part: at for at, part in enumerate(_owners(source))}
    plain = source.naming.plain
    names = sorted(source.tensors, key=lambda name: order.get(plain(name), len(order)))
    return {name: source.tensors[name] for name in names}


def _owners(source: Source) -> dict[str, str]:
    """Map from parts in the file, without prefix, to our tensors."""
    wanted: Mapping[str, Place] = places(source.config, source.naming)
    return {part: name for name, place in wanted.items() for part in place.parts}
