"""Command `python -m gpt eval RUN…`: loss of a model on a text, and accuracy on tasks.

Without --tasks, details of the loss on a text. With --tasks, or for several models, one table: the accuracy
on each task, beside the chance level and a control with shuffled questions, and bits per byte.
"""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import tinytensor as tt
from gpt.console import Parser
from gpt.data.prepare import text_of_file
from gpt.data.token_file import TokenFile, open_split
from gpt.evaluation.suite import Comparison, Score, named_errors
from gpt.evaluation.text_scores import score
from gpt.models.gpt import GPT
from gpt.tasks.registry import TASKS
from gpt.tokenizers.base import Tokenizer
from gpt.weights.load import load, require_tokenizer
from gpt.weights.run import read_configs, run_of
from tinytensor.files import atomic_write

BITS = "bits per byte"


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt eval RUN…`."""
    args = _parser().parse_args(argv)
    if args.tasks is None and len(args.runs) == 1 and args.out is None:
        model, tokenizer = _model(args.runs[0], args)
        tokens = _tokens(args.runs[0], args.data, tokenizer)
        print(score(model, tokens, tokenizer).table())
        return 0
    found = _compared(args)
    if args.out is not None:
        with atomic_write(args.out) as file:
            file.write(json.dumps(found.as_json(), indent=2).encode())
    print(found.table())
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m gpt eval", description="How well a trained model predicts and answers.")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run directory, one of its checkpoints, or another model: smollm2",
    )
    parser.add_argument(
        "--tasks",
        help=f"names and files by commas: {', '.join(TASKS)}, FILE of HellaSwag, ARC, MMLU or LAMBADA",
    )
    parser.add_argument("--count", type=int, default=200, help="questions of each task; default 200")
    parser.add_argument("--out", metavar="FILE", help="write a JSON object, too")
    parser.add_argument(
        "--data", help="a text file, or a folder with val.bin; default: the run's validation part"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, …; default cpu")
    return parser


def _compared(args: Namespace) -> Comparison:
    """Scores of all models, which are loaded one after the other."""
    names = [name.strip() for name in args.tasks.split(",")] if args.tasks else []
    if args.data is not None:  # an error of all models is told at once
        open_split(args.data, "val") if Path(args.data).is_dir() else text_of_file(args.data, "eval")
    found = Comparison()
    for run in args.runs:
        model, tokenizer = require_tokenizer(_model(run, args), "eval", run)
        found.add_tasks(run, (model, tokenizer), names, args.count)
        if args.data is not None or not names or _validation(run) is not None:
            with named_errors(run, BITS):
                tokens = _tokens(run, args.data, tokenizer)
                text = score(model, tokens, tokenizer)
                if text.bits_per_byte is not None:
                    found.add(run, BITS, Score(text.bits_per_byte, None, None, text.tokens))
    return found


def _model(run: str, args: Namespace) -> tuple[GPT, Tokenizer | None]:
    """Model on the device, and its tokenizer."""
    return load(run, device=args.device, packed=True)


def _validation(run: str) -> Path | None:
    """Folder with the validation split of a run; None if there is none."""
    folder = run_of(run)  # of a checkpoint, its run
    folders = [] if folder is None else [folder / "data", Path(read_configs(folder)[1].data)]
    return next((folder for folder in folders if (folder / "val.bin").is_file()), None)


def _tokens(run: str, data: str | None, tokenizer: Tokenizer | None) -> TokenFile | list[int]:
    """Ids of a text file, or of the validation split of a folder or of the run."""
    folder = _validation(run) if data is None else Path(data)
    if folder is None:
        raise tt.ArgumentError(
            f"eval: {run} has no validation part",
            why="its data have none, were removed, or are in another place",
            fix="give a text: --data=FILE",
        )
    if folder.is_dir():
        return open_split(folder, "val")
    if tokenizer is None:
        raise tt.ArgumentError(
            f"eval: the run has no tokenizer for {data}",
            why="it was trained on token files without one",
            fix="give a folder with val.bin: --data=FOLDER",
        )
    return tokenizer.encode(text_of_file(folder, "eval"))
