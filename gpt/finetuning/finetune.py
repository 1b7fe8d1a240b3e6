"""Fine-tuning: `python -m gpt finetune METHOD [--init_from=RUN] [--data=FILE] [--field=value …]`.

Starts from a trained model, prints its metrics before and after, and writes a run directory that `sample`
reads. Without --init_from a small model is trained first; without --data examples are generated from the
embedded Shakespeare, so that each method runs without preparation. Ctrl-C saves and prints how to resume.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

import tinytensor as tt
from gpt.console import Parser, counted, note
from gpt.data.command import embedded_shakespeare
from gpt.data.contents import hash_of_file, hash_of_tokenizer
from gpt.data.conversations import FORMS, read_conversations
from gpt.data.examples import split
from gpt.data.prepare import text_of_file
from gpt.data.records import read_records
from gpt.fields import closest, from_dict, to_dict, with_changes
from gpt.finetuning.base import Task, TuneConfig, TuneRun
from gpt.finetuning.builtin_conversations import builtin_conversations
from gpt.finetuning.chat_tokens import with_chat_tokens
from gpt.finetuning.dpo import FIELDS as DPO_FIELDS
from gpt.finetuning.dpo import DpoConfig, Preferring
from gpt.finetuning.grpo import GrpoConfig, Reinforcing
from gpt.finetuning.instruct import Instructing, usable
from gpt.finetuning.lora import LoraConfig, add_adapters, trainable_counts
from gpt.finetuning.text_task import Reading
from gpt.live.watch import WatchConfig, watching
from gpt.models.gpt import GPT
from gpt.presets import configs_from, with_warmup
from gpt.tasks.registry import task as verifiable_task
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import BEGIN, END
from gpt.training.command import tell_files, train
from gpt.training.run_lock import alone_in
from gpt.training.run_log import RunLog
from gpt.training.run_setup import refuse_ranks, refuse_to_overwrite
from gpt.training.stopping import Stopped, exit_code
from gpt.training.train import Trainer
from gpt.weights.checkpoint import list_checkpoints
from gpt.weights.load import load, require_tokenizer
from tinytensor.distributed import init
from tinytensor.files import PathLike, read_json

BASE = Path("runs/base")
BASE_RECIPE = (
    "--preset=shakespeare-char-cpu", f"--out_dir={BASE}", "--n_layer=3", "--n_embd=96", "--block_size=96",
    "--max_steps=700", "--warmup_steps=50", "--learning_rate=3e-3", "--min_learning_rate=3e-4",
    "--eval_interval=350", "--eval_batches=20", "--log_interval=100",
)  # fmt: skip
CONVERSATIONS = 40_000  # at most; two to three fill a row
MakeTask = Callable[..., Task]  # model, tokenizer, config, config of the method → task


@dataclass(frozen=True)
class Method:
    """A fine-tuning method: its task, its own config, and defaults."""

    about: str  # one-line description for the help
    data: str  # format of a file of examples
    make: MakeTask  # model, tokenizer, config and own configs → task
    tune: TuneConfig  # default hyperparameters
    lora: LoraConfig  # default adapters
    own: tuple[Any, ...]  # own configs with their defaults


def _instruct(model: GPT, tokenizer: Tokenizer, config: TuneConfig) -> Task:
    limit = model.config.block_size
    if config.data == "builtin":
        text = embedded_shakespeare()
        rows = config.max_steps * config.batch_size * config.gradient_accumulation_steps
        made = [
            builtin_conversations(text, config.seed, min(3 * rows, CONVERSATIONS)),
            builtin_conversations(text, config.seed, 300, "test"),
        ]
        (talks, reason), (held_out, _) = [usable(part, tokenizer, limit) for part in made]
        whole = sum(map(len, made))
    else:
        read = read_conversations(config.data)
        found, reason = usable(read, tokenizer, limit)
        talks, held_out = split(found, 0.1, config.seed)
        whole = len(read)
    task = Instructing(model, tokenizer, talks, held_out, config.batch_size, config.seed)
    cut = task.cut if config.data != "builtin" else 0  # dialogues of the plays, longer than a small context
    empty = sum(
        any(m["role"] == "assistant" and not m["content"].strip() for m in t) for t in [*talks, *held_out]
    )
    for count, what in (
        (whole - len(talks) - len(held_out), f"are skipped: {reason}"),
        (cut, "are cut off at the context"),
        (empty, "have an empty answer, which is learned, too"),
    ):
        if count:
            print(f"note   of {counted(whole, 'conversation')} {count:,} {what}")
    return task


def _dpo(model: GPT, tokenizer: Tokenizer, config: TuneConfig, own: DpoConfig) -> Task:
    if config.data == "builtin":
        longest = max(model.config.block_size - 2, 1)  # a token is at least one character
        pairs = exclamations(embedded_shakespeare(), config.seed, longest=longest)
    else:
        pairs = read_records(config.data, DPO_FIELDS)
        if same := sum(pair["chosen"] == pair["rejected"] for pair in pairs):
            print(f"note   of {counted(len(pairs), 'pair')} {same:,} have equal answers, and teach nothing")
    return Preferring(model, tokenizer, *split(pairs, 0.1, config.seed), own, config.batch_size, config.seed)


def _text(model: GPT, tokenizer: Tokenizer, config: TuneConfig) -> Task:
    builtin = config.data == "builtin"
    text = capitals(embedded_shakespeare()) if builtin else text_of_file(config.data, "finetune")
    return Reading(model, tokenizer, tokenizer.encode(text), config.batch_size, config.seed)


def _grpo(model: GPT, tokenizer: Tokenizer, config: TuneConfig, own: GrpoConfig) -> Task:
    if config.data != "builtin":
        raise tt.ArgumentError(
            f"finetune grpo: --data={config.data}",
            why="questions and rewards come from a task",
            fix=f"leave it out, and choose the task: --task={own.task}",
        )
    tasks = [verifiable_task(name.strip()) for name in own.task.split(",")]
    return Reinforcing(model, tokenizer, tasks, own, config.batch_size, config.seed)


METHODS = {
    "lora": Method(
        "a text, by low-rank adapters beside frozen weights (--lora_rank=0: by the weights themselves)",
        "a text",
        _text,
        TuneConfig(out_dir="runs/lora", learning_rate=1e-2, max_steps=300),
        LoraConfig(lora_rank=8),
        (),
    ),
    "instruct": Method(
        "conversations; the loss counts what the assistant says; then `chat` talks to the model",
        f"records like {FORMS}",
        _instruct,
        TuneConfig(out_dir="runs/instruct", learning_rate=2e-3, max_steps=600),
        LoraConfig(),
        (),
    ),
    "dpo": Method(
        "preferences: of two completions one becomes likelier (direct preference optimization)",
        'records like {"prompt": "…", "chosen": "…", "rejected": "…"}',
        _dpo,
        TuneConfig(out_dir="runs/dpo", learning_rate=2e-5, max_steps=150),
        LoraConfig(),
        (DpoConfig(),),
    ),
    "grpo": Method(
        "reinforcement: answers are sampled, and those that a task rewards become likelier",
        "none; see --task",
        _grpo,
        TuneConfig(out_dir="runs/grpo", learning_rate=5e-4, max_steps=300, warmup_steps=20, eval_interval=60),
        LoraConfig(),
        (GrpoConfig(),),
    ),
}


def begin(name: str, argv: Sequence[str]) -> TuneRun:
    """Run described by a command line: a new one, or the one to resume."""
    configs, _, resume = _configs(name, argv)
    return _begun(name, configs, resume)


def tune(name: str, out_dir: PathLike, *, quiet: bool = False, **fields: object) -> TuneRun:
    """Fine-tune in this process; a run in the folder is resumed, so that a killed call is repeated as it was.

    Returns:
        The run after its last step; `stopped_by` is not 0 if Ctrl-C or a signal ended it earlier.
    """
    with alone_in(out_dir, "finetune"):
        if list_checkpoints(out_dir):
            fields = {**fields, "init_from": "resume"}
        run = begin(name, [f"--out_dir={out_dir}", *[f"--{key}={value}" for key, value in fields.items()]])
        return cast(TuneRun, Trainer(run, quiet=quiet).train())


def _configs(name: str, argv: Sequence[str]) -> tuple[tuple[Any, ...], WatchConfig, bool]:
    """Configs of a command line, and whether it resumes a run."""
    method = METHODS[name]
    configs: tuple[Any, ...] = (method.tune, method.lora, *method.own)
    parser = Parser(
        prog=f"python -m gpt finetune {name}",
        usage="%(prog)s [--field=value ...]",
        description=f"{method.about}\n--data: {method.data}",
    )
    parser.add_fields(*configs, WatchConfig())
    given = vars(parser.parse_args(argv))
    refuse_ranks(init(), "finetune")
    (watch,) = with_changes(given, WatchConfig())
    if given.get("init_from") == "resume":
        del given["init_from"]
        return _resumed(name, given, configs), watch, True
    return with_changes(with_warmup(given, method.tune.warmup_steps), *configs), watch, False


def _begun(name: str, configs: tuple[Any, ...], resume: bool) -> TuneRun:
    method = METHODS[name]
    tune, lora = configs[:2]
    if not resume:
        refuse_to_overwrite(Path(tune.out_dir), "finetune")
    if tune.init_from == "base":
        _make_base()
    source = BASE if tune.init_from == "base" else tune.init_from
    packed = lora.lora_rank > 0
    loaded = load(source, block_size=tune.block_size, dropout=tune.dropout, device=tune.device, packed=packed)
    model, tokenizer = require_tokenizer(loaded, "finetune", source)
    if name == "instruct":
        model, tokenizer = _able_to_talk(model, tokenizer, tune, lora)
    tt.manual_seed(tune.seed)
    if lora.lora_rank:
        add_adapters(model, lora, tt.Generator(tune.seed))
    task = method.make(model, tokenizer, tune, *configs[2:])
    fields = {k: v for config in configs for k, v in to_dict(config).items()}
    contents = {"tokenizer": hash_of_tokenizer(tokenizer)}
    if tune.data != "builtin":
        contents["data"] = hash_of_file(tune.data, "finetune")
    about = {"task": name, "fields": fields, "contents": contents}
    return TuneRun(task, tokenizer, tune, lora, about=about, resume=resume)


def _able_to_talk(
    model: GPT, tokenizer: Tokenizer, tune: TuneConfig, lora: LoraConfig
) -> tuple[GPT, Tokenizer]:
    """Model and tokenizer with the special tokens of conversations."""
    before = model.config.vocab_size
    model, tokenizer = with_chat_tokens(model, tokenizer, tune.seed)
    if model.config.vocab_size > before and lora.lora_rank:
        raise tt.ArgumentError(
            "finetune: the model gets tokens for conversations, and its embeddings are frozen",
            why="their rows are new, and must be learned",
            fix="train all weights: --lora_rank=0",
        )
    return model, tokenizer


def _resumed(name: str, given: Mapping[str, Any], defaults: tuple[Any, ...]) -> tuple[Any, ...]:
    """Configs of the run in --out_dir, with the fields changed that a resumed run may change."""
    path = Path(given.get("out_dir", defaults[0].out_dir)) / "config.json"
    saved = read_json(path, "finetune").get("tune")
    if not isinstance(saved, dict) or saved.get("task") != name or not isinstance(saved.get("fields"), dict):
        raise tt.FormatError(
            f"finetune: {path} is not of a run of finetune {name}",
            why="only a run of the same method is resumed",
            fix="check --out_dir, and the method",
        )
    fields = saved["fields"]
    before = [
        from_dict(type(c), {k: v for k, v in fields.items() if k in to_dict(c)}, source=str(path))
        for c in defaults
    ]
    after: tuple[Any, ...] = with_changes(given, *before)
    free = {"out_dir", "device", "max_steps", "learning_rate", "warmup_steps", "weight_decay", "grad_clip"}
    free |= {"eval_interval", "log_interval", "checkpoint_interval"}
    was = {k: v for c in before for k, v in to_dict(c).items()}
    if changed := [k for c in after for k, v in to_dict(c).items() if v != was[k] and k not in free]:
        raise tt.ArgumentError(
            f"finetune: the run was started with {changed[0]}={was[changed[0]]}",
            why="with another value its next steps would differ",
            fix=f"leave --{changed[0]} out, or start a new run: --init_from={path.parent} --out_dir=NEW",
        )
    return after


def _make_base() -> None:
    """Train the small base model on the embedded Shakespeare, or finish its training, if needed."""
    configs = configs_from(BASE_RECIPE, default="demo")
    steps = list_checkpoints(BASE)
    if not steps or steps[-1] < configs[1].max_steps:
        print(f"training a small base model once, into {BASE}", flush=True)
        words = [*BASE_RECIPE, "--init_from=resume"] if steps else BASE_RECIPE
        run = train(*configs_from(words, default="demo"))
        if run.stopped_by:
            raise Stopped(run.stopped_by)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt finetune METHOD`; `--help` after a method lists its fields."""
    name, words = (argv[0] if argv else "--help"), list(argv[1:])
    if name in ("-h", "--help"):
        print(f"{__doc__}\nMethods:\n" + "\n".join(f"  {n:<10} {m.about}" for n, m in METHODS.items()))
        return 0
    if name not in METHODS:
        near = closest(name, METHODS)
        raise tt.ArgumentError(
            f"finetune {name}: no such method",
            why=f"there are {', '.join(METHODS)}",
            fix=f"did you mean {near[0]}?" if near else "see python -m gpt finetune --help",
        )
    configs, watch, resume = _configs(name, words)
    with alone_in(configs[0].out_dir, "finetune"), watching(watch, configs[0].out_dir):
        return _run(_begun(name, configs, resume))


def _run(run: TuneRun) -> int:
    """Train, and print metrics and examples before and after."""
    trained, whole = trainable_counts(run.model)
    share = f"{trained:,} of {whole:,} ({trained / whole:.1%})"
    kinds = sorted({layer.kind for layer in run.model.modules() if hasattr(layer, "packed")})
    packed = f"; of the others, matrices stay packed: {', '.join(kinds)}" if kinds else ""
    print(
        f"model  {share} parameters are trained; the optimizer state has {2 * trained:,} values{packed}",
        flush=True,
    )
    tuner = Trainer(run)
    with tuner.precision():
        begun, before = _at_first(run)
    print(f"--- at step {run.step} ---\n{run.show()}\n---", flush=True)
    if isinstance(run.task, Reinforcing) and not any(v for k, v in before.items() if k.startswith("pass")):
        note("no sampled answer is right, so there is nothing to reward: tune the model by examples first")
    tuner.train()
    if run.stopped_by:
        return exit_code(run.stopped_by)
    with tuner.precision():
        after = run.metrics()
    print(f"--- at step {run.step} ---\n{run.show()}\n---\nheld-out    step {begun:>6} {run.step:>11}")
    for key, value in after.items():
        print(f"{key:<15} {before[key]:>8.4f} {value:>11.4f}")
    talks = run.tokenizer is not None and {BEGIN, END} <= run.tokenizer.special_tokens.keys()
    tell_files(run.folder, "chat" if talks else "sample", run.folder)
    return 0


def _at_first(run: TuneRun) -> tuple[int, dict[str, float]]:
    """Step 0 and the metrics there, from the log if the run is resumed; without a log those of now."""
    log = RunLog(run.folder)
    if run.step == 0:
        run.folder.mkdir(parents=True, exist_ok=True)
        log.write(step=0, **run.metrics())
    else:
        for line in log.read():
            if line.get("step") == 0 and "val_loss" in line:
                return 0, line
    return run.step, run.metrics()


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, 0], np.uint64)))


def exclamations(text: str, seed: int = 0, count: int = 600, longest: int = 100) -> list[dict[str, str]]:
    """Preference pairs: a sentence that ends in an exclamation mark is preferred to one with a full stop.

    Sentences of more than `longest` characters are truncated to their end: a context may be short.
    """
    found = re.findall(r"[A-Z][a-z,' \n]{20,80}(?=\.)", text)
    chosen = _rng(seed).permutation(len(found))[:count]
    return [{"prompt": f"\n{found[i]}"[-longest:], "chosen": "!\n", "rejected": ".\n"} for i in chosen]


def capitals(text: str) -> str:
    """The text in capital letters: other tokens, the same language."""
    return text.upper()
