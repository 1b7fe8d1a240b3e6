"""Log-likelihoods of continuations against transformers."""

import numpy as np
import pytest
import torch

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.evaluation.likelihood import log_likelihoods
from gpt.models.gpt import GPT
from gpt.tokenizers.char import CharTokenizer
from tests.golden import make_golden

pytestmark = pytest.mark.oracle


def test_likelihoods_are_those_of_transformers() -> None:
    theirs = make_golden.build().eval()
    ours = GPT(GPTConfig(**make_golden.SHAPE))
    ours.load_state_dict(
        {n.removeprefix("transformer."): tt.tensor(p.detach().numpy()) for n, p in theirs.named_parameters()}
    )
    tokenizer = CharTokenizer(chr(0x4E00 + i) for i in range(ours.config.vocab_size))
    rng = np.random.default_rng(0)
    texts = [tokenizer.decode(rng.integers(0, tokenizer.vocab_size, n)) for n in (5, 3, 9, 4, 2, 7)]
    pairs = list(zip(texts[:3], texts[3:], strict=True))
    for (context, continuation), found in zip(pairs, log_likelihoods(ours, tokenizer, pairs), strict=True):
        ids = torch.tensor([tokenizer.encode(context + continuation)])
        with torch.no_grad():
            log_p = torch.log_softmax(theirs(ids).logits.double(), -1)[0, len(context) - 1 : -1]
        wanted = ids[0, len(context) :]
        expected = log_p.gather(1, wanted[:, None]).sum().item()
        assert found.log_p == pytest.approx(expected, abs=2e-4)
        assert found.greedy == bool((log_p.argmax(1) == wanted).all())
        assert found.tokens == len(continuation)
