"""Log-likelihoods of continuations, and GRPO's loss, against PyTorch."""

import numpy as np
import pytest
import torch

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.evaluation.likelihood import log_likelihoods
from gpt.finetuning.grpo import divergence, policy_loss
from gpt.models.gpt import GPT
from gpt.tokenizers.char_and_word import CharTokenizer
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


def test_the_loss_of_grpo_and_its_gradient_are_those_of_pytorch() -> None:
    rng = np.random.default_rng(1)
    log_p, reference = rng.normal(-1, 0.4, (2, 6, 5))
    weights = rng.normal(size=(6, 1)) * (rng.random((6, 5)) < 0.8)
    ours, theirs = tt.tensor(log_p, requires_grad=True), torch.tensor(log_p, requires_grad=True)
    loss = policy_loss(ours, tt.tensor(weights))
    loss = loss + 0.3 * divergence(ours, tt.tensor(reference)).sum()
    ratio, A = torch.exp(theirs - theirs.detach()), torch.tensor(weights)
    d = torch.tensor(reference) - theirs
    expected = -(ratio * A).sum() + 0.3 * (torch.exp(d) - d - 1).sum()
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    expected.backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-9)
