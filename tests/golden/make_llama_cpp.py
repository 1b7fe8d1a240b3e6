"""What llama.cpp computes of files that `save_gguf` writes: tokens, logits, greedy answers.

`llama_cpp.json` holds them, with the checksum of each file, so that the test sees when a file has changed.
Made by `python -m tests.golden.make_llama_cpp` in an environment with llama-cpp-python, which takes minutes
to build. The weights are small integers over 512: equal on every machine.
"""

import json
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.gguf_format.writer import save_gguf

GOLDEN = Path(__file__).parent / "llama_cpp.json"
TEXT = "low lower lowest, été! 2024 we'll\n\n  go"
NEW_TOKENS = 12
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LEARNED = BPETokenizer.train([TEXT] * 2, 280, special_tokens=SPECIAL)
SIZES: dict[str, Any] = {"block_size": 64, "n_layer": 2, "n_head": 4, "n_embd": 64}
ROPE: dict[str, Any] = {"position": "rope", "norm": "rms_norm", "bias": False}


class Case(NamedTuple):
    """A model, its tokenizer, and the dtype of its file."""

    fields: dict[str, Any]
    tokenizer: Tokenizer
    dtype: str = "float32"


def cut_by(split: str, whole_pieces: bool = False) -> BPETokenizer:
    """The learned tokenizer, with another rule for the pieces of a text."""
    return BPETokenizer(LEARNED.vocab, LEARNED.merges, LEARNED.special_tokens, split, whole_pieces)


CASES = {
    "gpt2": Case({}, LEARNED),
    "gpt2 without biases, own head": Case({"bias": False, "tied_head": False, "n_inner": 96}, LEARNED),
    "llama": Case(ROPE | {"activation": "swiglu", "n_kv_head": 2, "n_inner": 96}, cut_by("smollm")),
    "llama with biases": Case(ROPE | {"activation": "swiglu", "bias": True}, cut_by("llama3", True)),
    "llama, padded": Case(ROPE | {"activation": "swiglu", "vocab_size": 320}, cut_by("llama3")),
    "qwen3": Case(ROPE | {"activation": "swiglu", "qk_norm": True, "n_kv_head": 1}, LEARNED),
    "arcee": Case(ROPE | {"activation": "relu2", "rope_theta": 500.0, "norm_eps": 1e-6}, LEARNED),
    "characters": Case({}, CharTokenizer.train(TEXT + "\t\\")),
    "characters of a chat": Case(
        ROPE | {"activation": "swiglu"}, CharTokenizer.train(TEXT, special_tokens=SPECIAL)
    ),
    "float16": Case(ROPE | {"activation": "swiglu"}, LEARNED, "float16"),
    "bfloat16": Case({"tied_head": False}, LEARNED, "bfloat16"),
    "q8_0": Case(ROPE | {"activation": "swiglu"}, LEARNED, "q8_0"),
    "q4_0": Case({"tied_head": False}, LEARNED, "q4_0"),
    "q4_1": Case(ROPE | {"activation": "swiglu", "n_kv_head": 2}, LEARNED, "q4_1"),
    "q5_1": Case(ROPE | {"activation": "relu2"}, LEARNED, "q5_1"),
    "q4_k": Case(ROPE | {"activation": "swiglu", "n_inner": 512}, LEARNED, "q4_k"),  # of some matrices
    "q6_k": Case({"n_inner": 512}, LEARNED, "q6_k"),
}


def model_of(case: Case) -> GPT:
    """The model of a case, in evaluation mode."""
    fields = {"vocab_size": case.tokenizer.vocab_size, **SIZES, **case.fields}
    model = GPT(GPTConfig(**fields)).eval()
    rng = np.random.Generator(np.random.Philox(key=np.array([5, 0], np.uint64)))
    weights = {}
    for name, p in model.named_parameters():
        values = rng.integers(-100, 101, p.shape) / 512
        is_norm = p.ndim == 1 and name.endswith("weight")
        weights[name] = tt.tensor((values + is_norm).astype(np.float32))
    model.load_state_dict(weights)
    return model


def found_by_llama_cpp(path: Path) -> dict[str, Any]:
    """Tokens of the text, logits of the last one, and the greedy answer, by llama.cpp."""
    from llama_cpp import GGML_TYPE_F32, Llama

    cache = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}  # its default is float16
    llama = Llama(str(path), n_ctx=64, n_threads=1, logits_all=True, verbose=False, **cache)
    ids = llama.tokenize(TEXT.encode(), add_bos=True, special=False)
    llama.eval(ids)
    logits = np.array(llama.scores[: len(ids)])
    answer: list[int] = []
    for token in llama.generate(ids, temp=0.0, repeat_penalty=1.0):
        answer.append(token)
        if len(answer) == NEW_TOKENS:
            break
    shown = [
        [float(f"{value:.6g}") for value in logits[at, :: max(1, len(logits[at]) // 20)]] for at in (0, -1)
    ]
    return {
        "ids": ids,
        "logits": shown,
        "answer": answer,
        "text": llama.detokenize(answer).decode(errors="replace"),
        "ends": [llama.token_bos(), llama.token_eos()],
    }


def main() -> None:
    """Write the golden file."""
    golden = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            save_gguf(model_of(case), path, case.tokenizer, dtype=case.dtype)
            golden[name] = {
                "crc32": zlib.crc32(path.read_bytes()),
                **found_by_llama_cpp(path),
            }
            print(name, golden[name]["ids"][:8], golden[name]["answer"])
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
