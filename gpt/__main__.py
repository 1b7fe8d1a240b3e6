"""Entry point `python -m gpt COMMAND …`: dispatches to commands, maps errors and signals to exit codes.

Each command is the `main` of a module, imported on first use. It takes the arguments after its name, raises
TinyTensorErrors, and returns the exit code: 0, or that of the signal that stopped it.
"""

import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest

from gpt.console import compile_line, plain, safe_output
from gpt.fields import closest
from gpt.training.stopping import SIGPIPE, Stopped, exit_code
from tinytensor.errors import ArgumentError, MissingLibraryError, TinyTensorError

EXIT_ERROR = 2
TRAINING = ("demo", "chatbot", "train", "ablate", "masked", "translate", "finetune")


@dataclass(frozen=True)
class Command:
    """Module of a command, and its line in the help."""

    module: str
    about: str


COMMANDS = {  # each line of the help has two
    "demo": Command("gpt.demo", "train on Shakespeare, and write"),
    "train": Command("gpt.training.command", "train a model, or go on"),
    "sample": Command("gpt.generation.sample", "let a trained model write"),
    "chat": Command("gpt.generation.chat", "talk with a model such as smollm2"),
    "chatbot": Command("gpt.chatbot", "a text becomes a small chat model"),
    "incontext": Command("gpt.evaluation.incontext", "examples in a prompt change answers"),
    "eval": Command("gpt.evaluation.eval", "loss, bits per byte, tasks"),
    "watch": Command("gpt.live.watch", "runs on a page, while they train"),
    "plan": Command("gpt.training.plan", "memory, FLOPs, minutes of a run"),
    "trace": Command("gpt.interpret.trace", "follow a text, number by number"),
    "attention": Command("gpt.interpret.attention", "where each token looks"),
    "lens": Command("gpt.interpret.lens", "what each layer would say"),
    "neighbours": Command("gpt.lessons.neighbours", "words with similar vectors"),
    "skipgram": Command("gpt.lessons.skipgram", "vectors of words from a text"),
    "ablate": Command("gpt.experiments.ablate", "train variants, and compare them"),
    "speedrun": Command("gpt.experiments.speedrun", "seconds to a loss of 1.88"),
    "masked": Command("gpt.lessons.masked", "an encoder that fills gaps"),
    "translate": Command("gpt.lessons.translate", "an encoder-decoder on pairs"),
    "finetune": Command("gpt.finetuning.finetune", "train a trained model further"),
    "tasks": Command("gpt.tasks.command", "problems with verified answers"),
    "tokenizer": Command("gpt.tokenizers.tokenizer", "train one, or see what it does"),
    "convert": Command("gpt.weights.convert", "a model's format, or 4 to 8 bits"),
    "info": Command("gpt.weights.info", "the tensors in a model's file"),
    "data": Command("gpt.data.command", "turn texts into token files"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 2 after a reported error; 128 + its number after a signal: 130 after Ctrl-C, 141
        when the reader of the output closed the pipe.

    Example:
        >>> main(["--help"])  # doctest: +ELLIPSIS
        python -m gpt: train a GPT and look inside...
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the parent process, as with `<&-`
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an encoding without € must not end a training run
            stream.reconfigure(errors="backslashreplace")
    try:
        with safe_output():
            code = _run(words)
        sys.stdout.flush()
    except SystemExit as left:  # by argparse, after --help
        return int(left.code or 0)
    except TinyTensorError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return EXIT_ERROR
    except MemoryError:
        print(
            f"error: {words[0]}: there is not enough memory\n"
            "  why: the model, its gradients, or a batch do not fit\n"
            "  fix: use smaller sizes; python -m gpt plan computes what a model needs",
            file=sys.stderr,
        )
        return EXIT_ERROR
    except Stopped as stopped:
        return exit_code(stopped.signum)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return exit_code(signal.SIGINT)
    except BrokenPipeError:  # `… | head` closed the pipe; Python would report it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_code(SIGPIPE)
    except OSError as error:
        print(
            f"error: {' '.join(words[:1]) or 'help'}: {plain(str(error))}\n"
            "  why: the file system refused the operation\n"
            "  fix: check the path, its permissions, and the space on the disk",
            file=sys.stderr,
        )
        return EXIT_ERROR
    return code


def _run(words: list[str]) -> int:
    """Call the `main` of the command with the arguments after its name."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        near = closest(name, COMMANDS)
        raise ArgumentError(
            f"{name}: no such command",
            why=f"there are {', '.join(COMMANDS)}",
            fix=f"did you mean `python -m gpt {near[0]}`?" if near else "see python -m gpt --help",
        )
    try:
        module = importlib.import_module(COMMANDS[name].module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("gpt", "tinytensor"):
            raise
        raise MissingLibraryError(
            f"{name}: the library {error.name} is missing",
            why="this command needs it",
            fix='pip install ".[gpt]"',
        ) from None
    with compile_line() if name in TRAINING else nullcontext():
        return int(module.main(rest) or 0)


def _help() -> str:
    """Help text; fits on one screen."""
    cells = [f"{name:<11} {command.about:<36}" for name, command in COMMANDS.items()]
    half = -(-len(cells) // 2)
    pairs = zip_longest(cells[:half], cells[half:], fillvalue="")
    rows = "\n".join([f"  {left}  {right}".rstrip() for left, right in pairs])
    return f"""python -m gpt: train a GPT and look inside.

python -m gpt COMMAND [--field=value ...], where COMMAND is
{rows}

examples
  python -m gpt demo
  python -m gpt train --preset=shakespeare-char-cpu --max_steps=500 --out_dir=runs/first

python -m gpt COMMAND --help explains a command and lists its fields."""


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # of tinytensor/__init__.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
