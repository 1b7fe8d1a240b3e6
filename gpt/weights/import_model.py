"""Command `python -m gpt import PATH`: convert an external model to a run directory."""

import json
from collections.abc import Sequence
from dataclasses import replace

from gpt.config import TrainConfig
from gpt.console import Parser, command
from gpt.fields import to_dict
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.tokenizer_config import write_config
from gpt.weights.checkpoint import save_checkpoint
from gpt.weights.pretrained import from_pretrained
from tinytensor.files import PathLike, atomic_folder, atomic_write


def write_run(model: GPT, tokenizer: Tokenizer | None, folder: PathLike, who: str = "write_run") -> None:
    """Write a run directory for a model: config, tokenizer, and a checkpoint at step 0.

    Args:
        model: the model.
        tokenizer: its tokenizer; without one, commands that read text cannot use the run.
        folder: a new folder; created atomically.
        who: function that the user called, for errors.

    Raises:
        ArgumentError: the folder is not empty.
        SaveError: the folder cannot be written; it is removed.

    Example:
        >>> import pathlib, tempfile
        >>> from gpt.config import GPTConfig
        >>> from gpt.weights.trained import load_model
        >>> run = pathlib.Path(tempfile.mkdtemp()) / "run"
        >>> write_run(GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4)), None, run)
        >>> load_model(run)[0].config.n_head
        2
    """
    train = TrainConfig(out_dir=str(folder))
    if tokenizer is not None:
        train = replace(train, tokenizer=f"{folder}/tokenizer.json")
    configs = {"model": to_dict(model.config), "train": to_dict(train)}
    weights = {name: p.cpu().numpy() for name, p in model.state_dict().items()}
    with atomic_folder(folder, who) as new:
        with atomic_write(new / "config.json") as file:
            file.write(json.dumps(configs, indent=2).encode())
        if tokenizer is not None:
            tokenizer.save(new / "tokenizer.json")
            if tokenizer.chat_template:
                write_config(tokenizer, new, model.config.block_size)
        save_checkpoint(new, 0, weights, {}, configs)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt import PATH --out_dir=RUN`."""
    parser = Parser(
        prog="python -m gpt import",
        description="Make a run directory of a model: of Hugging Face's safetensors (GPT-2, Llama), of GGUF, "
        "or of another run. Then sample, chat, eval and trace work on it, and training can start from it.",
    )
    parser.add_argument("path", help="folder, .safetensors or .gguf file, or a name on the Hugging Face hub")
    parser.add_argument("--out_dir", required=True, metavar="RUN", help="the new run directory")
    parser.add_argument("--block_size", type=int, default=0, help="a shorter context than the model's")
    args = parser.parse_args(argv)
    model, tokenizer = from_pretrained(args.path, block_size=args.block_size)
    write_run(model, tokenizer, args.out_dir, "import")
    words = "no tokenizer" if tokenizer is None else repr(tokenizer)
    print(f"wrote {args.out_dir}: {model.num_parameters():,} parameters, {words}")
    if tokenizer is not None:
        print(f"next   {command('sample', args.out_dir, '--prompt=The')}")
    return 0
