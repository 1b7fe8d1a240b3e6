"""`python -m gpt classify RUN TEXT…`: labels of texts, by a run of `finetune classify`."""

from __future__ import annotations

from collections.abc import Sequence

from gpt.console import Parser
from gpt.finetuning.classify import load_classifier

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt classify RUN TEXT…`.

    Args:
        argv: the run directory and the texts; `--help` lists them.

    Returns:
        Exit code 0.

    Raises:
        ArgumentError: an empty text, or a character that the tokenizer does not know.
        FormatError: the run holds no classifier.
    """
    parser = Parser(
        prog="python -m gpt classify",
        description="Label texts by a run of finetune classify; a long text is judged by its end.",
    )
    parser.add_argument("run", help="run directory, for example runs/classify")
    parser.add_argument("text", nargs="+", help="what is labelled; there may be several")
    args = parser.parse_args(argv)
    classifier, tokenizer = load_classifier(args.run)
    for text, row in zip(args.text, classifier.probabilities(args.text, tokenizer), strict=True):
        order = row.argsort()[::-1]
        print(f"{text!r}: {', '.join([f'{classifier.labels[i]} {row[i]:.1%}' for i in order])}")
    return 0
