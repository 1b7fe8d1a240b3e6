"""Ids of conversations against `apply_chat_template` of transformers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import BPETokenizer, embedded_shakespeare
from gpt.tokenizers.chat_template import BEGIN, CHATML, END, ChatTemplate

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
