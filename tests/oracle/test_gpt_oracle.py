"""The GPT against transformers' GPT-2 in one process: logits, loss, gradients, training, and greedy text."""

import numpy as np
import pytest
import torch

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from tests.golden import make_golden
from tinytensor.optim import AdamW, clip_grad_norm_

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def pair():
    theirs = make_golden.build()
    ours = GPT(GPTConfig(**make_golden.SHAPE))
    state = {
        n.removeprefix("transformer."): tt.tensor(p.detach().numpy()) for n, p in theirs.named_parameters()
    }
    ours.load_state_dict(state)
    return ours, theirs


def test_logits_loss_and_gradients(pair):
    ours, theirs = pair
    inputs, targets = (part[1] for part in make_golden.batches())
    expected = theirs(torch.from_numpy(inputs)).logits
    logits = ours(tt.tensor(inputs))
    assert np.abs(logits.detach().numpy() - expected.detach().numpy()).max() < 3e-5
    ours.loss(tt.tensor(inputs), tt.tensor(targets)).backward()
    torch.nn.functional.cross_entropy(expected.flatten(0, 1), torch.from_numpy(targets).flatten()).backward()
    named = {n.removeprefix("transformer."): p for n, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        want = named[name].grad.numpy()
        assert np.abs(p.grad.numpy() - want).max() < 3e-4 * np.abs(want).max(), name
    ours.zero_grad()
    theirs.zero_grad()


def test_greedy_text_is_the_same(pair):
    ours, theirs = pair
    prompt = [5, 7, 9]
    expected = theirs.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0)
    assert list(generate(ours.eval(), prompt, 20, temperature=0)) == expected[0, 3:].tolist()


def test_training_gives_the_same_losses(pair):
    ours, theirs = pair
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    own = AdamW(ours.parameter_groups(0.1), lr=1e-3, betas=(0.9, 0.99))
    for x, y in zip(*make_golden.batches(), strict=True):
        optimizer.zero_grad()
        logits = theirs(torch.from_numpy(x)).logits
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(y).flatten())
        expected.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        own.zero_grad()
        loss = ours.loss(tt.tensor(x), tt.tensor(y))
        loss.backward()
        clip_grad_norm_(ours.parameters(), 1.0)
        own.step()
        assert abs(loss.item() - expected.item()) < 1e-5
