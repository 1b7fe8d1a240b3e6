"""Training and encoding speed of byte-level BPE, against tiktoken and Hugging Face's tokenizers.

The text is split by GPT-2's pattern. Before anything is timed, all trainers must learn the same merges, and
all encoders, with this vocabulary, must return the same ids.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import BenchmarkError, Case, Process, Suite, installed, together
from gpt import BPETokenizer, embedded_shakespeare
from gpt.tokenizers.bpe_train import BYTE_TOKENS
from gpt.tokenizers.pretokenize import printable

OURS, HF, TIKTOKEN = "tinytensor", "tokenizers", "tiktoken"
SEEN, UNSEEN = "encode, pieces were seen", "encode, nothing was seen"
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LEAST = 2  # pairs that occur once are not merged
Merges = list[tuple[bytes, bytes]]


def text_of(path: str, kilobytes: int) -> str:
    """Beginning of a file, or of the embedded Shakespeare."""
    text = Path(path).read_text(encoding="utf-8") if path else embedded_shakespeare()
    return text[: kilobytes * 1000] if kilobytes else text


# ---- contestants -------------------------------------------------------------------------------------------


def _numbers(merges: Merges) -> list[list[int]]:
    """Merges as byte values, for comparison."""
    ids = {token: i for i, token in enumerate(BYTE_TOKENS)}
    found = []
    for first, second in merges:
        found.append([ids[first], ids[second]])
        ids[first + second] = len(ids)
    return found


def _trained(text: str, vocab_size: int) -> BPETokenizer:
    return BPETokenizer.train(text, vocab_size, special_tokens=[], min_count=LEAST)


def ours(text: str, kilobytes: int, vocab_size: int) -> Suite:
    """tinytensor's trainer and encoder."""
    corpus = text_of(text, kilobytes)
    trained = _trained(corpus, vocab_size)

    def forgetful() -> list[int]:
        trained._cache.clear()
        return trained.encode(corpus)

    return {
        "train": Case(
            lambda: _trained(corpus, vocab_size), lambda: _numbers(_trained(corpus, vocab_size).merges)
        ),
        SEEN: Case(lambda: trained.encode(corpus), lambda: trained.encode(corpus)),
        UNSEEN: Case(forgetful, forgetful),
    }


def hugging_face(text: str, kilobytes: int, vocab_size: int) -> Suite:
    """Hugging Face's tokenizers, in Rust."""
    import json

    import tokenizers as hf

    corpus = text_of(text, kilobytes)
    byte_level = hf.pre_tokenizers.ByteLevel
    names = {printable(token): token for token in BYTE_TOKENS}

    def trained() -> Any:
        tokenizer = hf.Tokenizer(hf.models.BPE())
        tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
        trainer = hf.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=LEAST,
            show_progress=False,
            initial_alphabet=byte_level.alphabet(),
        )
        tokenizer.train_from_iterator([corpus], trainer)
        return tokenizer

    def merges(tokenizer: Any) -> Merges:
        found = json.loads(tokenizer.to_str())["model"]["merges"]
        both = [merge.split(" ") if isinstance(merge, str) else merge for merge in found]
        return [(_bytes(a, names), _bytes(b, names)) for a, b in both]

    encoder = _as_hugging_face(hf, _trained(corpus, vocab_size))

    def forgetful() -> Any:
        encoder.model._clear_cache()
        return encoder.encode(corpus)

    return {
        "train": Case(trained, lambda: _numbers(merges(trained()))),
        SEEN: Case(lambda: encoder.encode(corpus), lambda: encoder.encode(corpus).ids),
        UNSEEN: Case(forgetful, lambda: forgetful().ids),
    }


def _bytes(name: str, names: Mapping[str, bytes]) -> bytes:
    return b"".join(names[character] for character in name)


def _as_hugging_face(hf: Any, trained: BPETokenizer) -> Any:
    """Our vocabulary as a Hugging Face tokenizer."""
    vocab = {printable(token): i for token, i in trained.vocab.items()}
    merges = [(printable(a), printable(b)) for a, b in trained.merges]
    encoder = hf.Tokenizer(hf.models.BPE(vocab=vocab, merges=merges))
    encoder.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return encoder


def tiktoken(text: str, kilobytes: int, vocab_size: int) -> Suite:
    """OpenAI's tiktoken, in Rust; it does not train, and does not cache pretokens."""
    import tiktoken as library

    corpus = text_of(text, kilobytes)
    ranks = _trained(corpus, vocab_size).vocab
    encoder = library.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    encode = Case(lambda: encoder.encode_ordinary(corpus), lambda: encoder.encode_ordinary(corpus))
    return {SEEN: encode, UNSEEN: encode}


SUITES = {OURS: "ours", HF: "hugging_face", TIKTOKEN: "tiktoken"}
CASES = {"train": (OURS, HF), SEEN: (OURS, HF, TIKTOKEN), UNSEEN: (OURS, HF, TIKTOKEN)}


def run(
    plan: Plan, *, text: str = "", kilobytes: int = 200, vocab_size: int = 512, alone: bool = False
) -> Report:
    """Measure training and encoding, each with one thread."""
    if text and not Path(text).is_file():
        raise BenchmarkError(f"tokenizer: there is no file {text}")
    if vocab_size <= 256:
        raise BenchmarkError(f"tokenizer: a vocabulary of {vocab_size} must exceed the 256 bytes")
    report = Report("tokenizer", HF)
    report.findings["text"] = {
        "characters": len(text_of(text, kilobytes)),
        "name": Path(text).name if text else "Shakespeare",
        "vocabulary": vocab_size,
    }
    names = [OURS] + [name for name in (HF, TIKTOKEN) if installed(name) and not alone]
    arguments = {"text": text, "kilobytes": kilobytes, "vocab_size": vocab_size}
    off = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    processes = {
        name: Process(f"{__name__}:{SUITES[name]}", arguments, pinned=True, environment=off) for name in names
    }
    with together(processes) as everyone:
        for case, who in CASES.items():
            here = {n: everyone[n] for n in who if n in everyone}
            report.compete(here, plan, cases=[case])
    _conclude(report, len(text_of(text, kilobytes).encode()))
    return report


def _conclude(report: Report, nbytes: int) -> None:
    """Add megabytes per second and our speedups to the findings."""
    for result in report.results:
        names: Sequence[str] = list(result.rounds[0])
        speeds = {name: round(nbytes / result.times(name).median / 1e6, 3) for name in names}
        report.findings[f"{result.case}, MB/s"] = speeds
        beside = {n: round(result.ratio(OURS, n).median, 2) for n in names if n != OURS}
        if beside:
            report.findings[f"{result.case}, {OURS} is so many times as fast as"] = beside
