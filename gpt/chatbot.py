"""A chat model from a text: `python -m gpt chatbot`, which `make chat` runs.

Runs the commands of five stages and prints each, so that it can be repeated by hand: tokenizer, pretraining,
instruction tuning, reinforcement learning, evaluation. Then it writes report.md, and talks. After Ctrl-C or
a kill the same command resumes, with the same result, bit for bit.
"""

import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

import gpt.evaluation.eval
import gpt.finetuning.finetune
import gpt.generation.chat
import gpt.tokenizers.tokenizer
import gpt.training.command
import tinytensor as tt
from gpt.console import Parser, command, plain
from gpt.data.prepare import read_texts, text_files
from gpt.depth import of_depth
from gpt.fields import check_types, from_dict, to_dict, with_changes
from gpt.generation.chat import ChatConfig, Conversation
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.live.watch import WatchConfig, watching
from gpt.tasks.registry import TASKS, task
from gpt.training.measures import cpu_model, product_speed
from gpt.training.plan import UTILIZATION, plan
from gpt.training.run_lock import alone_in
from gpt.training.run_log import RunLog
from gpt.weights.checkpoint import list_checkpoints
from gpt.weights.load import load, open_source, require_tokenizer
from gpt.weights.run import CHATBOT, read_configs, run_of
from tinytensor.errors import ArgumentError
from tinytensor.files import atomic_write, read_json

_MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "tokenizer": gpt.tokenizers.tokenizer.main,
    "train": gpt.training.command.main,
    "finetune": gpt.finetuning.finetune.main,
    "eval": gpt.evaluation.eval.main,
    "chat": gpt.generation.chat.main,
}
CONTEXT = 256  # tokens: a few exchanges
ANSWERS = 8 * 48  # tokens of the answers to a question that are rewarded, with the question, about
MAX_STEPS = "--max_steps="
SCORES, REPORT = "scores.json", "report.md"  # of the evaluation
EXPECTED = 0.9  # share of right answers in each task, after tuning and after rewards: see docs/chat.md
_LEAST = {"vocab_size": 259, "seed": 0}  # of the other numbers 1
# Options of instruction tuning and of reinforcement learning: for a small model of one's own, and for a
# larger one that knows conversations, of which only adapters are trained, on small batches.
_OWN = (
    ("--batch_size=32", "--optimizer=muon", "--learning_rate=0.003", "--matrix_learning_rate=0.01"),
    ("--batch_size=16", "--learning_rate=2e-4"),
)
_FOREIGN = (
    ("--lora_rank=8", "--learning_rate=0.001", f"--block_size={CONTEXT}", "--batch_size=2"),
    ("--lora_rank=8", "--batch_size=2"),
)


@dataclass(frozen=True)
class ChatbotConfig:
    """Sizes of the model and its stages."""

    # number of layers, which sets width, learning rates and steps of pretraining: see train --depth
    depth: int = 3
    data: str = "shakespeare"  # text of pretraining: shakespeare (embedded), a file, or a folder
    vocab_size: int = 259  # tokens of byte-level BPE; 259: bytes alone, no merges, and three special tokens
    # scratch; or a model that knows ChatML, such as smollm2, in place of the first two stages
    init_from: str = "scratch"
    instruct_steps: int = 1300  # steps of instruction tuning
    # tasks of the reinforcement learning, by commas: see `python -m gpt tasks`
    task: str = "spelling,counting,sorting,reversing,arithmetic"
    grpo_steps: int = 200  # steps of reinforcement learning
    held_out: int = 100  # number of test problems of each task
    out_dir: str = "runs/chat"  # folder of the runs of all stages
    seed: int = 1337  # random seed of all stages

    def __post_init__(self) -> None:
        check_types(self)
        of_depth(self.depth)
        for name in self.task.split(","):
            task(name.strip())
        for name, value in to_dict(self).items():
            least = _LEAST.get(name, 1)
            if isinstance(value, int) and value < least:
                raise ArgumentError(
                    f"chatbot: --{name}={value}", why=f"it is {least} or more", fix=f"use --{name}={least}"
                )


@dataclass(frozen=True)
class Stage:
    """A command, and the file or run directory that it writes: None for a stage that is always done anew."""

    name: str
    about: str
    words: tuple[str, ...]
    result: Path | None = None

    @property
    def command(self) -> str:
        """The command as typed into a shell."""
        return command(*self.words)

    @property
    def done(self) -> bool:
        """Whether the file exists, or the run has done all its steps."""
        if self.result is None or not self.result.is_dir():
            return self.result is not None and self.result.is_file()
        steps = list_checkpoints(self.result)
        return bool(steps) and steps[-1] >= read_configs(self.result)[1].max_steps

    def fits(self, words: Sequence[str]) -> bool:
        """Whether these words may be the command: it has no result, or its run ends later than it is."""
        steps = list_checkpoints(self.result) if self.result is not None else []
        if not steps and (self.result is None or not self.result.is_file()):
            return True
        new = set(words) - set(self.words)
        longer = all(w.startswith(MAX_STEPS) and int(w.removeprefix(MAX_STEPS)) >= steps[-1] for w in new)
        return not new or (longer and not self.done)

    def run(self) -> int:
        """Run the command, or resume it; returns its exit code."""
        name, *rest = self.words
        if self.result is not None and list_checkpoints(self.result):
            kept = rest[: 1 if name == "finetune" else 0]  # the method; other fields are those of the run
            kept += [word for word in rest if word.startswith(MAX_STEPS)]
            rest = [*kept, "--init_from=resume", f"--out_dir={self.result}"]
        return _MAINS[name](rest)


def stages(config: ChatbotConfig) -> list[Stage]:
    """Stages from a text to a chat model."""
    folder, scratch, begin = Path(config.out_dir), config.init_from == "scratch", _begin(config)
    tuned, taught = folder / "instruct", folder / "grpo"
    tuning, teaching = _FOREIGN if not scratch and run_of(config.init_from) is None else _OWN
    last = tuned / f"step_{config.instruct_steps}"  # the best by its loss has learned less of the tasks
    return [
        *(_pretraining(config) if scratch else []),
        Stage(
            "instruction tuning",
            "it learns from conversations to answer; the loss counts the answers alone",
            (
                *("finetune", "instruct", f"--init_from={begin}", f"--out_dir={tuned}"),
                *(f"--max_steps={config.instruct_steps}", *tuning, "--eval_interval=250"),
                *(f"--seed={config.seed}", "--checkpoint_interval=20"),
            ),
            tuned,
        ),
        Stage(
            "reinforcement learning",
            "it tries answers to problems, and those that are right become likelier",
            (
                *("finetune", "grpo", f"--init_from={last}", f"--task={config.task}"),
                *(f"--out_dir={taught}", f"--max_steps={config.grpo_steps}", *teaching),
                *(f"--held_out={config.held_out}", "--eval_interval=0", f"--seed={config.seed}"),
                "--checkpoint_interval=20",
            ),
            taught,
        ),
        Stage(
            "evaluation",
            "problems that no stage has seen, after each stage",
            (
                *("eval", *[str(path) for path in (begin, last, taught)]),
                *(f"--tasks={','.join(TASKS)}", f"--count={config.held_out}", f"--out={folder / SCORES}"),
            ),
        ),
    ]


def _begin(config: ChatbotConfig) -> Path:
    """The model that is tuned."""
    return Path(config.out_dir) / "base" if config.init_from == "scratch" else Path(config.init_from)


def _pretraining(config: ChatbotConfig) -> list[Stage]:
    """Stages from a text to a model that continues it."""
    folder = Path(config.out_dir)
    model, train = of_depth(config.depth)
    # the tokens of a step are those of the dial
    rows = max(1, train.batch_size * model.block_size // CONTEXT)
    tokenizer, base = folder / "tokenizer.json", folder / "base"
    return [
        Stage(
            "tokenizer",
            "which pieces a text is cut into, with the special tokens that begin and end a message",
            (
                *("tokenizer", "train", *_files(config.data), f"--vocab-size={config.vocab_size}"),
                *("--special=chat", f"--out={tokenizer}"),
            ),
            tokenizer,
        ),
        Stage(
            "pretraining",
            "the model learns to continue the text",
            (
                *("train", f"--depth={config.depth}", f"--data={config.data}", f"--tokenizer={tokenizer}"),
                *(f"--out_dir={base}", f"--block_size={CONTEXT}", f"--batch_size={rows}"),
                *(f"--seed={config.seed}", "--checkpoint_interval=50"),
            ),
            base,
        ),
    ]


def _files(data: str) -> list[str]:
    """Text files that `train --data` reads."""
    if data == "shakespeare":
        return [str(resources.files("gpt") / "text" / "shakespeare.txt")]
    return [str(path) for path in text_files(data)]


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt chatbot`."""
    parser = Parser(prog="python -m gpt chatbot", usage="%(prog)s [--field=value ...]", description=__doc__)
    parser.add_fields(ChatbotConfig(), WatchConfig())
    given = vars(parser.parse_args(argv))
    (watch,), config = with_changes(given, WatchConfig()), _configured(given)
    folder = Path(config.out_dir)
    if config.init_from == "scratch" and not list_checkpoints(folder / "base"):
        _require_text(config.data)
    found = stages(config)
    names, minutes = ", ".join([stage.name for stage in found]), ceil(_minutes(found, config))
    print(f"{len(found)} stages, about {minutes} minutes on this machine: {names}", flush=True)
    with alone_in(folder, "chatbot"), watching(watch, folder):
        code = _run(found, folder, config, _seconds(config))
    return code or _talk(folder / "grpo")


def _minutes(found: Sequence[Stage], config: ChatbotConfig) -> float:
    """Minutes of the stages that are not done, by the FLOPs of their tokens: see the command `plan`."""
    model, train = of_depth(config.depth)
    model = replace(model, vocab_size=config.vocab_size, block_size=CONTEXT)
    if config.init_from != "scratch":
        model = open_source(config.init_from).config
    tokens = 0
    for stage in found:
        given = dict([word.split("=", 1) for word in stage.words if "=" in word])
        if "--batch_size" in given and not stage.done:
            sequences = int(given["--batch_size"]) * int(given.get("--max_steps", train.max_steps))
            tokens += sequences * (ANSWERS if "grpo" in stage.words else CONTEXT)
    flops = 3 * plan(model, train, flops_per_second=1.0).forward_flops_per_token
    return tokens * flops / (product_speed() * UTILIZATION) / 60


def _require_text(data: str) -> None:
    """Check, before the folder is made, that the text can be read and fills the context."""
    least = 2 * CONTEXT  # bytes, of which a tenth is for validation; a window has one token more
    read = 0
    for chunk in read_texts(_files(data)):
        read += len(chunk.encode())
        if read >= least:
            return
    raise ArgumentError(
        f"chatbot: --data={data}: {read} bytes are too few",
        why=f"the context has {CONTEXT} tokens, and a part of the text is for validation",
        fix=f"give a text of {least} bytes or more; of merged tokens (--vocab_size) a longer one",
    )


def _configured(given: Mapping[str, Any]) -> ChatbotConfig:
    """Config of the given options; in a folder that was begun, its fields are the defaults."""
    folder = given.get("out_dir", ChatbotConfig.out_dir)
    path = Path(folder) / CHATBOT
    if not path.is_file():
        return with_changes(given, ChatbotConfig())[0]
    saved = from_dict(ChatbotConfig, read_json(path, "chatbot").get("config"), source=str(path))
    saved = replace(saved, out_dir=folder)  # it may have been moved
    (config,) = with_changes(given, saved)
    for name, value in to_dict(config).items():
        _require_fit(saved, replace(saved, **{name: value}), name)
    return config


def _require_fit(saved: ChatbotConfig, config: ChatbotConfig, name: str) -> None:
    """Check that stages that ran, or were begun, stay as they are with another value of one field."""
    words = {stage.name: stage.words for stage in stages(config)}
    for stage in stages(saved):
        if stage.fits(words.get(stage.name, stage.words)):
            continue
        new = [f"--{name}={to_dict(config)[name]}", "--out_dir=NEW"]
        if stage.words[0] == "finetune":  # what is before it can be kept
            new.append(f"--init_from={_begin(saved)}")
        raise ArgumentError(
            f"chatbot: {stage.name} in {saved.out_dir} was begun with {name}={to_dict(saved)[name]}",
            why=f"{stage.result} would not fit",
            fix=f"leave --{name} out, or begin another folder: {command('chatbot', *new)}",
        )


def _seconds(config: ChatbotConfig) -> dict[str, float]:
    """Seconds of the stages in the folder so far; saves the config there."""
    path = Path(config.out_dir) / CHATBOT
    saved: Any = read_json(path, "chatbot").get("seconds") if path.is_file() else {}
    seconds = {name: float(value) for name, value in saved.items()} if isinstance(saved, dict) else {}
    _save(config, seconds)
    return seconds


def _save(config: ChatbotConfig, seconds: dict[str, float]) -> None:
    with atomic_write(Path(config.out_dir) / CHATBOT) as file:
        file.write(json.dumps({"config": to_dict(config), "seconds": seconds}, indent=2).encode())


def _run(found: Sequence[Stage], folder: Path, config: ChatbotConfig, seconds: dict[str, float]) -> int:
    """Run the stages that are not done; returns the exit code of the first that was stopped, or 0."""
    for number, stage in enumerate(found, 1):
        print(f"\n=== {number} of {len(found)}: {stage.name}: {stage.about}\n$ {stage.command}", flush=True)
        if stage.done:
            print(f"done before, in {stage.result}")
            continue
        begun, code = time.perf_counter(), -1
        try:
            code = stage.run()
        finally:
            before = seconds.get(stage.name, 0.0) if stage.result else 0.0  # evaluation begins anew
            seconds[stage.name] = round(before + time.perf_counter() - begun, 1)
            _save(config, seconds)
            if code < 0:  # an error, or a second Ctrl-C; a run that was stopped has said it
                print(f"resume with: {command('chatbot', f'--out_dir={folder}')}", flush=True)
        if code:
            return code
    text = _report(found, folder, seconds)
    with atomic_write(folder / REPORT) as file:
        file.write(text.encode())
    print(f"\n=== {folder / REPORT}\n{text}", flush=True)
    return 0


def _report(found: Sequence[Stage], folder: Path, seconds: Mapping[str, float]) -> str:
    """Report of a run: machine, seconds and losses, right answers, and what is below what is expected."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, tinytensor {tt.__version__}"
    machine = f"{cpu_model()}, {tt.get_num_threads()} threads, {versions}"
    lines = [f"# {folder}", "", f"{time.strftime('%Y-%m-%d %H:%M')}, {machine}", ""]
    lines += [
        "| stage | seconds, parts before an interruption included | held-out loss |",
        "| --- | --: | --: |",
    ]
    for stage in found:
        log = RunLog(stage.result).read() if stage.result is not None and stage.result.is_dir() else []
        losses = [f"{line['val_loss']:.4f}" for line in log if "val_loss" in line]
        lines.append(
            f"| {stage.name} | {seconds.get(stage.name, 0.0):.1f} | {losses[-1] if losses else ''} |"
        )
    heads = ("chance", "before", "instruction tuning", "reinforcement learning", "expected")
    lines += ["", f"| right answers | {' | '.join(heads)} |", f"| --- |{' --: |' * len(heads)}"]
    below = []
    scores: Any = read_json(folder / SCORES, "chatbot")
    for asked in scores["tasks"]:
        if asked["chance"] is None:  # the loss on a text
            continue
        right = [asked["scores"][model]["value"] for model in scores["models"]]
        cells = " | ".join([f"{share:.0%}" for share in (asked["chance"], *right)])
        lines.append(f"| {asked['task']} | {cells} | >= {EXPECTED:.0%} |")
        below += [
            f"{asked['task']} {share:.0%}: expected >= {EXPECTED:.0%} after {name}"
            for name, share in zip(heads[2:4], right[1:], strict=True)
            if share < EXPECTED
        ]
    return "\n".join([*lines, "", *(below or ["Every task is as good as expected."]), ""])


def _talk(model: Path) -> int:
    """Talk on a terminal; elsewhere ask the first test problem of each task, and who it is."""
    print(f"\n=== conversation\n$ {command('chat', model)}", flush=True)
    if sys.stdin.isatty():
        return _MAINS["chat"]([str(model)])
    network, tokenizer = require_tokenizer(load(model), "chatbot", model)
    sampler = Sampler(SamplingConfig(temperature=0.0), tokenizer.vocab_size)
    problems = [one.problem(0, "test").question for one in TASKS.values()]
    for question in ("Hello!", *problems, "Who are you?"):  # a conversation each: the context is small
        talk = Conversation(network, tokenizer, ChatConfig(max_new_tokens=80), sampler)
        with closing(talk.answer(question)) as pieces:
            print(f"> {question}\n{plain(''.join(pieces))}", flush=True)
    return 0
