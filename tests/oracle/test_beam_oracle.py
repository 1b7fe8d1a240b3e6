"""Beam search against transformers' `generate`: texts and scores, with and without an end."""

import itertools
from typing import Any

import pytest
import torch
import transformers

from gpt.generation.beam import beam_search
from gpt.weights.load import load

pytestmark = pytest.mark.oracle

V, T = 23, 40


@pytest.fixture(scope="module", params=[1, 2])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = transformers.GPT2Config(vocab_size=V, n_positions=T, n_layer=2, n_head=2, n_embd=16)
    torch.manual_seed(request.param)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn(p.shape) * 0.4 + (p.mean() if p.ndim < 2 else 0))
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return load(folder)[0], theirs


CASES = list(itertools.product([2, 5], [0.0, 1.0, 2.0, -0.5], [None, 4]))


@pytest.mark.parametrize(("beams", "penalty", "end"), CASES)
def test_hypotheses(pair: Any, beams: int, penalty: float, end: int | None) -> None:
    ours, theirs = pair
    for prompt in ([1], [7, 2, 9]):
        found = beam_search(ours, prompt, 15, beams, length_penalty=penalty, end=end)
        expected = theirs.generate(
            torch.tensor([prompt]),
            max_new_tokens=15,
            num_beams=beams,
            num_return_sequences=beams,
            length_penalty=penalty,
            early_stopping="never",
            do_sample=False,
            eos_token_id=end,
            pad_token_id=V - 1,
            return_dict_in_generate=True,
            output_scores=True,
        )
        texts = [row[len(prompt) :].tolist() for row in expected.sequences]
        for text, hypothesis in zip(texts, found, strict=True):
            length = len(hypothesis.tokens)
            assert text[:length] == list(hypothesis.tokens)
            assert set(text[length:]) <= {V - 1}
        scores = expected.sequences_scores.tolist()
        assert [h.score for h in found] == pytest.approx(scores, rel=1e-4)
