"""Ids of conversations against `apply_chat_template` of transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt import GPT, BPETokenizer, GPTConfig, embedded_shakespeare, load, save_pretrained
from gpt.tokenizers import jinja_template
from gpt.tokenizers.chat_template import BEGIN, CHATML, END, IGNORED, ChatTemplate
from gpt.weights.save import write_run

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.oracle

SMOLLM2 = CHATML.replace(
    "{% for message in messages %}",
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>"
    "system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}",
)
# Answers begin with a word: ours are encoded apart from their header.
said = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=40)
talks = st.tuples(st.booleans(), st.lists(st.tuples(said, said), max_size=3), said)


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    special = ["<|endoftext|>", BEGIN, END]
    return BPETokenizer.train(embedded_shakespeare()[:200_000], 1000, special_tokens=special)


@pytest.fixture(scope="module")
def theirs(tokenizer: BPETokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("oracle") / "tokenizer.json"
    tokenizer.save(path)
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))


@pytest.mark.parametrize("source", [CHATML, SMOLLM2])
@given(talk=talks)
def test_the_same_ids(tokenizer: BPETokenizer, theirs: Any, source: str, talk: Any) -> None:
    has_system, turns, question = talk
    messages = [{"role": "system", "content": "Be kind."}] if has_system else []
    for asked, answered in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": f"So {answered}"}]
    messages += [{"role": "user", "content": question}]
    tokenizer.chat_template = source
    ids = theirs.apply_chat_template(
        messages, chat_template=source, add_generation_prompt=True, return_dict=False
    )
    assert ChatTemplate(tokenizer).prompt(messages) == ids


# In the manner of Llama 2 and Llama 3: trimmed contents, bos_token, no system message, line breaks.
BRACKETS = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('no system message') }}"
    "{% endif %}{% endfor %}"
)
HEADERS = (
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\\n\\n' }}\n"
    "    {{- message.content | trim }}\n"
    "    {{- eos_token }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n\\n' }}\n{%- endif %}"
)
# The generation tags mark what is learned, for `return_assistant_tokens_mask` of transformers.
MARKED = BRACKETS.replace(
    "{{ ' ' + message['content'] + eos_token }}",
    "{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}",
)


def exported(folder: Path, tokenizer: BPETokenizer, source: str) -> None:
    """A model folder for transformers, with a chat template."""
    tokenizer.chat_template = source
    tokenizer.named_tokens = {"bos_token": BEGIN, "eos_token": END} if source else {}
    config = GPTConfig(tokenizer.vocab_size, block_size=64, n_layer=1, n_head=2, n_embd=8)
    save_pretrained(GPT(config, tt.Generator(0)), folder, tokenizer)


@pytest.mark.parametrize("source", ["", SMOLLM2, BRACKETS, HEADERS])
def test_folders_carry_their_template(tokenizer: BPETokenizer, tmp_path: Path, source: str) -> None:
    exported(tmp_path / "hf", tokenizer, source)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    model, ours = load(tmp_path / "hf")
    write_run(model, ours, tmp_path / "run")
    messages = [
        {"role": "user", "content": " What is two and two? "},
        {"role": "assistant", "content": "Four."},
        {"role": "user", "content": "And three and three?"},
    ]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    for path in ("hf", "run"):
        chat = ChatTemplate(load(tmp_path / path)[1])
        assert chat.prompt(messages) == expected
        inputs, targets = chat.example(messages[:2])
        whole = theirs.apply_chat_template(messages[:2], return_dict=False)
        assert inputs.tolist() == whole[:-1]
        assert chat.tokenizer.decode(targets[targets != IGNORED]).strip() == f"Four.{END}"
    assert theirs.convert_tokens_to_ids(theirs.eos_token) in chat.stop_ids
    hf = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ids = hf.config.eos_token_id
    assert set(ids if isinstance(ids, list) else [ids]) <= set(chat.stop_ids)


@given(talk=talks)
def test_what_is_learned_by_a_template(tokenizer: BPETokenizer, theirs: Any, talk: Any) -> None:
    tokenizer.chat_template = BRACKETS
    tokenizer.named_tokens = {"bos_token": BEGIN, "eos_token": END}
    theirs.bos_token, theirs.eos_token = BEGIN, END
    messages = []
    for asked, answered in [*talk[1], (talk[2], "a")]:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    found = theirs.apply_chat_template(
        messages, chat_template=MARKED, return_dict=True, return_assistant_tokens_mask=True
    )
    inputs, targets = ChatTemplate(tokenizer).example(messages)
    assert inputs.tolist() == found["input_ids"][:-1]
    np.testing.assert_array_equal(targets != IGNORED, np.array(found["assistant_masks"][1:], bool))


def test_special_tokens_in_a_message_are_text(tokenizer: BPETokenizer) -> None:
    tokenizer.chat_template = BRACKETS
    tokenizer.named_tokens = {"bos_token": BEGIN, "eos_token": END}
    chat = ChatTemplate(tokenizer)
    said = [{"role": "user", "content": f"{END} {BEGIN}x"}, {"role": "assistant", "content": f"no {END} yet"}]
    inputs, targets = chat.example(said)
    assert tokenizer.decode(inputs) == f"{BEGIN}[INST] {END} {BEGIN}x [/INST] no {END} yet"
    special = [tokenizer.special_tokens[BEGIN], tokenizer.special_tokens[END]]
    assert [i for i in [*inputs, targets[-1]] if i in special] == special
    with pytest.raises(tt.ArgumentError, match="no system message"):
        chat.prompt([{"role": "system", "content": "x"}, *said])
    tokenizer.chat_template = "{% for m in messages %}"
    with pytest.raises(tt.FormatError, match="not Jinja"):
        ChatTemplate(tokenizer)
    tokenizer.chat_template = "{{ ''.__class__.__mro__ }}"
    with pytest.raises(tt.ArgumentError, match="unsafe"):
        ChatTemplate(tokenizer).prompt(said)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content if loop.last else '' }}{% endfor %}"
    with pytest.raises(tt.ArgumentError, match="changes earlier messages"):
        ChatTemplate(tokenizer).example([*said, *said])


LOOP = "{% for i in range(99999) %}"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ 1/0 }}", "division by zero"),
        ("{% for i in range(10**7) %}{% endfor %}", "Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "recursion"),
        ("{{ " + "9" * 5000 + " }}", "4300 digits"),
        ("{{ undefined() }}", "undefined"),
        (LOOP + "a" * 9999 + "{% endfor %}", "makes more than"),
    ],
)
def test_what_a_template_raises_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    monkeypatch.setattr(jinja_template, "MOST", 10**6)
    words = BPETokenizer.train("", 257)
    words.chat_template = source
    with pytest.raises((tt.ArgumentError, tt.FormatError), match=why):
        ChatTemplate(words).prompt([{"role": "user", "content": "a"}])
