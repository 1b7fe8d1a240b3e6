"""Training: `python -m gpt train [--preset=NAME | --depth=N] [--field=value …]`.

With evaluation, log, samples and checkpoints. Ctrl-C, SIGTERM, SIGHUP and a closed output pipe stop it after
the step: it saves and prints how to resume, with --init_from=resume --out_dir=RUN.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser, command
from gpt.fields import with_changes
from gpt.live.watch import WatchConfig
from gpt.presets import add_presets, describe_presets, named_configs, preset, with_warmup
from gpt.training.stopping import exit_code
from gpt.training.train import train
from gpt.weights.init_from import read_configs, run_of, with_tokenizer_of
from gpt.weights.sources import is_foreign, open_source


def configs_of(
    argv: Sequence[str],
    begin: tuple[GPTConfig, TrainConfig],
    *own: Any,
    name: str = "train",
    about: str | None = None,
) -> tuple[Any, ...]:
    """Configs of the command line of a command that trains.

    Args:
        argv: `--preset=NAME`, `--depth=N` or `--init_from=resume --out_dir=RUN`, and `--field=value …`. With
            `--init_from=RUN` or another model, such as smollm2, model and tokenizer are taken from it.
        begin: default configs if neither a preset nor a run is given.
        own: further configs.
        name, about: the command and its description, for `--help`.

    Returns:
        model config, training config, and the further ones.

    Example:
        >>> model, train = configs_of(["--preset=tiny", "--n_layer=3"], preset("demo"))
        >>> model.n_layer, train.max_steps
        (3, 20)
    """
    parser = Parser(
        prog=f"python -m gpt {name}",
        usage="%(prog)s [--preset=NAME | --depth=N] [--field=value ...]",
        description=about,
        epilog=f"presets:\n{describe_presets()}",
    )
    add_presets(parser)
    parser.add_fields(*own, *begin)
    given = vars(parser.parse_args(argv))
    named, origin, folder = named_configs(given), given.get("init_from"), given.get("out_dir")
    if named is not None:
        begin = named
    elif origin == "resume" and folder is not None and Path(folder).is_dir():
        begin = read_configs(folder)
    run = run_of(origin) if origin is not None else None
    if run is not None:  # continued training: unset fields default to those of the run
        begin = (begin[0] if named else read_configs(run)[0], with_tokenizer_of(run, begin[1]))
    elif origin is not None and origin not in ("scratch", "resume") and is_foreign(origin):
        inside = origin.endswith(".gguf") or not Path(origin).exists()  # the tokenizer is
        config = replace(begin[1], tokenizer=origin) if inside else begin[1]
        beside = Path(origin).parent if origin.endswith(".safetensors") else Path(origin)
        begin = (begin[0] if named else open_source(origin).config, with_tokenizer_of(beside, config))
    if origin != "resume":
        given = with_warmup(given, begin[1].warmup_steps)
    return with_changes(given, *begin, *own)


def tell_files(folder: Path, *words: object) -> None:
    """Print the files of a run, and a command that uses them."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    print(f"files  {folder}/: {', '.join(names)}\nnext   {command(*words)}")


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt train`."""
    model, config, watch = configs_of(argv, preset("shakespeare-char-cpu"), WatchConfig(), about=__doc__)
    run = train(model, config, watch=watch)
    if run.stopped_by:
        return exit_code(run.stopped_by)
    if run.ranks.rank == 0:  # without a tokenizer a model cannot write
        tell_files(run.folder, "sample" if run.tokenizer is not None else "info", run.folder)
    return 0
