"""Training: `python -m gpt train [--preset=NAME | --depth=N] [--field=value …]`.

With evaluation, log, samples and checkpoints. Ctrl-C, SIGTERM, SIGHUP and a closed output pipe stop it after
the step: it saves and prints how to resume, with --init_from=resume --out_dir=RUN.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser, command
from gpt.fields import with_changes
from gpt.live.watch import WatchConfig, watching
from gpt.presets import add_presets, describe_presets, named_configs, preset, with_warmup
from gpt.training.data_parallel import each_on_its_device, ends_all, first_one_first
from gpt.training.run import Run
from gpt.training.run_lock import alone_in, removed_if_refused
from gpt.training.stopping import exit_code
from gpt.training.terminal import describe
from gpt.training.train import Trainer
from gpt.weights.load import open_source
from gpt.weights.run import read_configs
from tinytensor.distributed import init


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
    if "data" in given and folder is None:  # a run on other data has no name of Shakespeare
        name_of_data = Path(given["data"]).resolve().stem
        begin = (begin[0], replace(begin[1], out_dir=begin[1].out_dir.replace("shakespeare", name_of_data)))
    if origin is not None and origin not in ("scratch", "resume"):  # model and tokenizer are the weights'
        source = open_source(origin)
        tokenizer = source.tokenizer_path if Path(origin).exists() else origin
        config = begin[1] if tokenizer is None else replace(begin[1], tokenizer=str(tokenizer))
        begin = (begin[0] if named else source.config, config)
    if origin != "resume":
        given = with_warmup(given, begin[1].warmup_steps)
    return with_changes(given, *begin, *own)


_UNWATCHED = WatchConfig()


def train(
    model_config: GPTConfig,
    train_config: TrainConfig,
    *,
    quiet: bool = False,
    kind: type[Run] = Run,
    watch: WatchConfig = _UNWATCHED,
) -> Run:
    """Train a model by two configs; data-parallel under `mpiexec`.

    Args:
        kind: class of the run.
        watch: whether a page follows the run meanwhile.
    """
    started = init()
    with ends_all(started):
        ranks, train_config = each_on_its_device(started, train_config)
        with alone_in(train_config.out_dir, kind.command) if ranks.rank == 0 else nullcontext():
            with first_one_first(ranks), removed_if_refused(Path(train_config.out_dir) / "data"):
                run = kind(model_config, train_config, ranks)
            if not quiet and ranks.rank == 0:
                print(describe(run), flush=True)
            with watching(watch, train_config.out_dir) if ranks.rank == 0 else nullcontext():
                return Trainer(run, quiet=quiet).train()


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
