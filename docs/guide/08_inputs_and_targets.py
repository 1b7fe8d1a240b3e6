# %% [markdown]
# # 8. Inputs and targets
#
# **Goal.** See what a language model learns from: a text, and the same text one token later. At the end you can say
# what `x` and `y` of a batch are, how many predictions one window trains, and how low the loss can get at all.
#
# Nobody writes answers for a language model. The text itself is the answer: after "The cat sat on the" comes "mat",
# and this is written right there. So the question is a piece of text, and the answer is the token that follows.

# %%
import os
import re
from collections import Counter

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinytensor as tt
from gpt.batches import Batches
from gpt.config import GPTConfig
from gpt.generate import generate
from gpt.model import GPT

FAST = os.environ.get("TINYTENSOR_DOCS_FAST") == "1"  # fewer steps, the same claims
STORY = (
    "The cat sat on the mat. The dog ran in the park. The cat and dog played together. "
    "They became friends. The cat liked the mat. The dog liked the park."
)

words = re.findall(r"\w+|\.", STORY)  # here a token is a word or a full stop, which is easy to read
vocabulary = sorted(set(words))
number = {word: i for i, word in enumerate(vocabulary)}
ids = tt.tensor([number[word] for word in words])
V = len(vocabulary)

print(len(words), "tokens,", V, "different ones:", *vocabulary)
assert (len(words), V) == (37, 18)
assert [vocabulary[i] for i in ids.tolist()] == words

# %% [markdown]
# ## Shift by one
#
# The **inputs** are all tokens but the last. The **targets** are all tokens but the first. Target number `t` is the
# token that comes after input number `t`.
#
# Both are views of the same buffer: nothing is copied, the targets only begin one number later.

# %%
x, y = ids[:-1], ids[1:]

for t in range(6):
    print(f"t={t}   input {words[t]:<4}   target {vocabulary[y[t].item()]}")

assert x.shares_memory(y) and x.shares_memory(ids)
assert (x.offset, y.offset) == (0, 1)  # the whole shift is one number in a view
assert x[1:].tolist() == y[:-1].tolist()  # the target of one place is the input of the next

# %% [markdown]
# ## A window is many examples
#
# The model does not see one word only. At place `t` it sees all inputs up to `t`. So one window of 8 tokens holds 8
# questions, from a very short one to the longest one.

# %%
T = 8
pairs = [(words[: t + 1], words[t + 1]) for t in range(T)]
for context, target in pairs:
    print(f"{' '.join(context):<36} → {target}")

assert len(pairs) == T
assert pairs[4] == (["The", "cat", "sat", "on", "the"], "mat")

# %% [markdown]
# In the whole story, how often does each token follow each other one? A row is an input, a column a target.

# %%
counts = np.zeros((V, V), int)
np.add.at(counts, (x.numpy(), y.numpy()), 1)

fig, ax = plt.subplots(figsize=(6, 5.4))
ax.imshow(counts, cmap="Blues")
ax.set_xticks(range(V), vocabulary, rotation=90)
ax.set_yticks(range(V), vocabulary)
ax.set_xlabel("target")
ax.set_ylabel("input")
ax.set_title("Pairs of neighbors in the story")
for row, column in np.argwhere(counts):
    ax.text(column, row, counts[row, column], ha="center", va="center", fontsize=8)
fig.tight_layout()

after = {vocabulary[i]: int(n) for i, n in enumerate(counts[number["The"]]) if n}
print("after 'The':", after)
assert counts.sum() == len(words) - 1  # one pair fewer than tokens: the last token has no target
assert after == {"cat": 3, "dog": 2}

# %% [markdown]
# ## Batches
#
# A long text is cut into windows, and several windows are stacked: inputs `(B, T)` and targets `(B, T)`. All windows
# of the story together are one view again: a step to the next window and a step to the next token both move on by one
# number in the buffer, so the strides are `(1, 1)`.

# %%
windows = ids.unfold(0, T + 1)  # T inputs, and one more for the last target
print("shape", windows.shape, "strides", windows.strides)
assert windows.shape == (len(words) - T, T + 1)
assert windows.strides == (1, 1) and windows.shares_memory(ids)

inputs, targets = windows[:, :-1], windows[:, 1:]
assert inputs[:, 1:].tolist() == targets[:, :-1].tolist()

# The training program draws its batches with this class. In this mode it takes the same windows in order.
ours, theirs = next(Batches(ids.tolist(), batch_size=4, block_size=T, mode="stride", stride=1))
assert (ours == inputs[:4].numpy()).all() and (theirs == targets[:4].numpy()).all()

# %% [markdown]
# ## One pass trains all places at once
#
# Must the model run 8 times for 8 questions? No. Place `t` cannot look at later places (lesson 9 shows how), so its
# answer is the same whether the rest of the window is there or not. One pass gives all answers, and the loss is their
# mean. (`cross_entropy` says how surprised the model is by the right token; lesson 12 tells more.)

# %%
model = GPT(GPTConfig(V, block_size=T, n_layer=2, n_head=2, n_embd=32), tt.Generator(1)).eval()
with tt.no_grad():
    logits = model(inputs[:1])  # (1, T, V): an answer at each place
    alone = [model(inputs[:1, : t + 1])[0, -1].tolist() for t in range(T)]  # 8 runs, one for each question
    losses = tt.cross_entropy(logits, targets[:1], reduction="none")  # (1, T)
    loss = model.loss(inputs[:1], targets[:1])

print("surprise at each place:", losses[0].numpy().round(2))
np.testing.assert_allclose(logits[0].numpy(), alone, atol=1e-5)
assert abs(loss.item() - losses.mean().item()) < 1e-6
assert abs(loss.item() - np.log(V)) < 0.3  # untrained: about as surprised as by a fair draw from V tokens

# %% [markdown]
# ## What if we forget to shift?
#
# Then each target is the token that the model sees at this very place. That is easy: the loss falls to almost 0. But
# the model has learned to repeat its input, which is no use for going on with a text.

# %%


def train(x: tt.Tensor, y: tt.Tensor, config: GPTConfig, steps: int, seed: int = 2) -> tuple[GPT, list[float]]:
    """A model trained on the inputs x (B, T) and targets y (B, T), and its losses."""
    model = GPT(config, tt.Generator(seed))
    optimizer = tt.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(x, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


small = GPTConfig(V, block_size=T, n_layer=1, n_head=2, n_embd=32)
steps = 80 if FAST else 200
right, losses_right = train(inputs, targets, small, steps)
wrong, losses_wrong = train(inputs, inputs, small, steps)

said = {}
for name, trained, losses in (("shifted", right, losses_right), ("not shifted", wrong, losses_wrong)):
    answer = generate(trained, [number["The"]], 6, temperature=0)
    said[name] = [vocabulary[i] for i in answer]
    print(f"{name:<12} loss {losses[-1]:.3f}   The", *said[name])

assert losses_wrong[-1] < 0.1 and losses_wrong[-1] < losses_right[-1]
assert said["not shifted"] == ["The"] * 6  # a low loss is worth nothing if the question is wrong
assert "The" not in said["shifted"][:3]

# %% [markdown]
# ## How low can the loss get?
#
# After "The" the story goes on with "cat" three times and with "dog" twice. Who sees this one word alone cannot know
# which: the best answer is 3/5 and 2/5, and it still leaves some surprise. Who sees more words is surprised less. Let
# us count that surprise, with the last `n` tokens known.

# %%


def best_loss(n: int, first: int = 0) -> float:
    """Mean surprise, in nats, of who knows how often each token follows each run of n tokens in the story."""
    places = range(max(n, first), len(words))
    runs = [tuple(words[t - n : t]) for t in places]
    of_run, of_both = Counter(runs), Counter(zip(runs, (words[t] for t in places), strict=True))
    return -sum(c * np.log(c / of_run[run]) for (run, _), c in of_both.items()) / len(places)


floors = [best_loss(n, first=6) for n in range(7)]  # the same places for all n, so that the numbers compare
for n, floor in enumerate(floors):
    print(f"{n} tokens known: {floor:.3f}")
assert all(more <= less + 1e-12 for less, more in zip(floors, floors[1:], strict=False))
assert floors[1] > 0.3 and floors[5] > 0.0 and floors[6] < 1e-12  # six tokens decide: "… the mat. The dog" is not enough

# %% [markdown]
# A model that may see one token only (`sliding_window=1`, and no positions) runs into this floor and stays there. One
# that sees everything goes on to 0: it learns the story by heart.

# %%
whole_x, whole_y = x.reshape(1, -1), y.reshape(1, -1)
sizes = {"block_size": len(words), "n_layer": 1, "n_head": 2, "n_embd": 32}
steps = 150 if FAST else 300
_, one_word = train(whole_x, whole_y, GPTConfig(V, **sizes, position="none", sliding_window=1), steps)
_, all_words = train(whole_x, whole_y, GPTConfig(V, **sizes), steps)

fig, ax = plt.subplots(figsize=(7, 3.6))
ax.plot(one_word, label="sees one token")
ax.plot(all_words, label="sees all tokens before")
ax.axhline(best_loss(1), color="gray", linestyle=":", label="best possible with one token")
ax.axhline(np.log(V), color="gray", linestyle="--", label="a fair draw: ln 18")
ax.set_xlabel("step")
ax.set_ylabel("loss (nats)")
ax.set_title("The context decides how low the loss can get")
ax.legend()
fig.tight_layout()

print(f"one token: {one_word[-1]:.4f}, floor {best_loss(1):.4f}; all tokens: {all_words[-1]:.4f}")
assert min(one_word) >= best_loss(1) - 1e-5  # nothing gets below the floor
assert one_word[-1] < best_loss(1) + 0.05  # and training gets there
assert all_words[-1] < 0.1

# %% [markdown]
# ## Exercises
#
# **1.** Cut the story into windows that do not overlap. `cut(ids, T)` returns inputs and targets of shape `(n, T)`.
# What does not fill a window is left out. Mind that the last target of a window is the first input of the next.

# %%


def check_cut(cut) -> None:
    x, y = cut(ids, 9)
    assert x.shape == y.shape == (4, 9)
    assert x.flatten().tolist() == ids[:36].tolist()
    assert y.flatten().tolist() == ids[1:37].tolist()
    x, y = cut(ids, 10)
    assert x.shape == (3, 10) and y[2, 9].item() == ids[30].item()
    print("exercise 1: right")


# %% tags=["solution"]
def cut(ids: tt.Tensor, T: int) -> tuple[tt.Tensor, tt.Tensor]:
    n = (len(ids) - 1) // T  # one token more than n * T is needed, for the last target
    return ids[: n * T].reshape(n, T), ids[1 : n * T + 1].reshape(n, T)


check_cut(cut)

# %% [markdown]
# **2.** A target of −100 is left out of the loss. Write `only(targets, begin, end)`: a copy of the targets `(N,)` in
# which all places outside `begin … end − 1` are −100. Fine-tuning uses this to learn answers and not questions.

# %%


def check_only(only) -> None:
    with tt.no_grad():
        logits = tt.randn(36, V, generator=tt.Generator(3))
        each = tt.cross_entropy(logits, y, reduction="none")
        some = tt.cross_entropy(logits, only(y, 7, 14))
    assert abs(some.item() - each[7:14].mean().item()) < 1e-5
    assert ids[1].item() == y[0].item() != -100  # a copy: the story is as it was
    print("exercise 2: right")


# %% tags=["solution"]
def only(targets: tt.Tensor, begin: int, end: int) -> tt.Tensor:
    kept = tt.full(targets.shape, -100, dtype=targets.dtype)
    kept[begin:end] = targets[begin:end]
    return kept


check_only(only)

# %% [markdown]
# **3.** Words that mean much to a reader may be easy for a model, and the other way round. Write `hardest(n)`: the run
# of `n` tokens in the story that more than one token follows, and that occurs most often.

# %%


def check_hardest(hardest) -> None:
    assert hardest(1) in (("The",), (".",))  # both five times
    assert hardest(2) == (".", "The")
    assert hardest(5) == ("the", "mat", ".", "The", "dog") and hardest(6) is None
    print("exercise 3: right")


# %% tags=["solution"]
def hardest(n: int) -> tuple[str, ...] | None:
    followers: dict[tuple[str, ...], Counter] = {}
    for t in range(n, len(words)):
        followers.setdefault(tuple(words[t - n : t]), Counter())[words[t]] += 1
    open_runs = {run: sum(c.values()) for run, c in followers.items() if len(c) > 1}
    return max(open_runs, key=open_runs.get) if open_runs else None


check_hardest(hardest)
