# %% [markdown]
# # 8. Inputs and targets
#
# **Goal.** See the training data of a language model: a text, and the same text one token later. At the end
# you know what the inputs and the [targets](glossary.md#target) of a batch are, how many predictions one
# window trains, and the lowest possible loss.
#
# A language model needs no labels. The text itself has the answers: after "The cat sat on the" comes "mat".
# The question is a part of the text, the answer is the token after it.

# %%
import re
from collections import Counter
from itertools import pairwise

import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.data.batches import Batches
from gpt.generation.generate import generate
from gpt.models.gpt import GPT

exercises = Exercises("08_inputs_and_targets")

# %% [markdown]
# In this lesson a token is a word or a full stop. This makes tables easy to read.

# %%
words = re.findall(r"\w+|\.", STORY)
vocabulary = sorted(set(words))
number = {word: i for i, word in enumerate(vocabulary)}
ids = tt.tensor([number[word] for word in words])
V = len(vocabulary)
print(len(words), "tokens,", V, "distinct ones:", *vocabulary)

assert (len(words), V) == (37, 18)
assert [vocabulary[i] for i in ids.tolist()] == words

# %% [markdown]
# ## Shift by one
#
# The **inputs** are all tokens but the last. The **targets** are all tokens but the first. Target number
# `t` is the token that comes after input number `t`.
#
# Both are [views](glossary.md#view) of one buffer: nothing is copied, the targets only begin one element
# later.

# %%
x, y = ids[:-1], ids[1:]
for t in range(6):
    print(f"t={t}   input {words[t]:<4}   target {vocabulary[y[t].item()]}")

assert x.shares_memory(y)
assert x.shares_memory(ids)
assert (x.offset, y.offset) == (0, 1)  # the shift is only an offset
assert x[1:].tolist() == y[:-1].tolist()  # the target of one position is the input of the next

# %% [markdown]
# ## A window holds many questions
#
# The model does not read only one word. At position `t` it reads all inputs up to `t`. So one window of 8
# tokens has 8 questions, from a very short one to the longest one.

# %%
T = 8
pairs = [(words[: t + 1], words[t + 1]) for t in range(T)]
for context, target in pairs:
    print(f"{' '.join(context):<36} → {target}")

assert len(pairs) == T
assert pairs[4] == (["The", "cat", "sat", "on", "the"], "mat")

# %% [markdown]
# And how often does each token follow each other one, in the whole story?

# %%
counts = np.zeros((V, V), int)
np.add.at(counts, (x.numpy(), y.numpy()), 1)
after = {vocabulary[i]: int(n) for i, n in enumerate(counts[number["The"]]) if n}
print("after 'The':", after)

picture, axes = figure(size=(6, 5.8))
axes.imshow(counts, cmap="Blues")
axes.set_xticks(range(V), vocabulary, rotation=90)
axes.set_yticks(range(V), vocabulary)
axes.set(title="Pairs of neighbors in the story", xlabel="target", ylabel="input")
for row, column in np.argwhere(counts):
    count = counts[row, column]
    axes.text(column, row, count, ha="center", va="center", color="white" if count > 2 else "black")
show(picture, "How often each token (column) follows each other one (row). Most rows have one target only.")

assert counts.sum() == len(words) - 1  # one pair fewer than tokens: the last token has no target
assert after == {"cat": 3, "dog": 2}
assert ((counts > 0).sum(1) == 1).sum() > V / 2

# %% [markdown]
# ## Batches
#
# A long text is split into windows, and several windows are stacked: inputs `(B, T)` and targets `(B, T)`.
# All windows of the story together are one view again. A step to the next window and a step to the next
# token both advance by one element in the buffer, so the strides are `(1, 1)`.

# %%
windows = ids.unfold(0, T + 1)  # T inputs, and one token more for the last target
inputs, targets = windows[:, :-1], windows[:, 1:]
print("shape", windows.shape, "strides", windows.strides)

assert windows.shape == (len(words) - T, T + 1)
assert windows.strides == (1, 1)
assert windows.shares_memory(ids)
assert inputs[:, 1:].tolist() == targets[:, :-1].tolist()

# %% [markdown]
# Training gets its batches from the class `Batches`. In the mode "stride" it returns the same windows in
# order; in the mode "random" it samples them.

# %%
batch_x, batch_y = next(Batches(ids.tolist(), batch_size=4, block_size=T, mode="stride", stride=1))

assert batch_x.tolist() == inputs[:4].tolist()
assert batch_y.tolist() == targets[:4].tolist()

# %% [markdown]
# ## One pass answers all questions
#
# Must the model run 8 times for 8 questions? No. Position `t` cannot attend to later positions (lesson 9
# shows how), so its answer is independent of the remainder of the window. One pass computes all answers.
# The loss is the mean of the [cross-entropy](glossary.md#cross-entropy) at each position: how much the
# right token surprises the model.

# %%
model = GPT(GPTConfig(V, block_size=T, n_layer=2, n_head=2, n_embd=32), tt.Generator(1)).eval()
with tt.no_grad():
    logits = model(inputs[:1])  # (1, T, V): an answer at each position
    alone = [model(inputs[:1, : t + 1])[0, -1].tolist() for t in range(T)]  # 8 runs, one for each question
    losses = tt.cross_entropy(logits.mT, targets[:1], reduction="none")  # (1, V, T), (1, T) → (1, T)
    loss = model.loss(inputs[:1], targets[:1]).item()
print("surprise at each place:", losses[0].numpy().round(2))

assert np.allclose(logits[0].numpy(), alone, atol=1e-5)
assert abs(loss - losses.mean().item()) < 1e-6
assert abs(loss - np.log(V)) < 0.3  # untrained: near the loss of a uniform distribution over V tokens

# %% [markdown]
# ## What if we forget to shift?
#
# Then each target is the input token at the same position. That is easy, and the loss falls to almost 0.
# But the model has learned to repeat its input, which is useless for continuing a text.


# %%
def train(x, y, config, steps, seed=2):
    """A model trained on inputs x (B, T) and targets y (B, T); and its losses."""
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
steps = pick(200, 80)
said, reached = {}, {}
for name, aims in (("shifted", targets), ("not shifted", inputs)):
    trained, losses = train(inputs, aims, small, steps)
    said[name] = [vocabulary[i] for i in generate(trained, [number["The"]], 6, temperature=0)]
    reached[name] = losses[-1]
    print(f"{name:<12} loss {losses[-1]:.3f}   The", *said[name])

assert reached["not shifted"] < 0.1
assert reached["not shifted"] < reached["shifted"]
assert said["not shifted"] == ["The"] * 6  # a low loss on the wrong task is worthless
assert said["shifted"][0] in ("cat", "dog")

# %% [markdown]
# ## How low can the loss get?
#
# After "The" the story continues with "cat" three times and with "dog" twice. From this word alone one
# cannot know which. The best prediction is 3/5 and 2/5, and some loss remains. With more context it is
# lower. Let us compute the remaining loss if the last `n` tokens are known.


# %%
def best_loss(n, first=0):
    """Mean loss, in nats, of predicting by how often each token follows each run of n tokens in the story."""
    places = range(max(n, first), len(words))
    runs = [tuple(words[t - n : t]) for t in places]
    of_run = Counter(runs)
    of_both = Counter(zip(runs, [words[t] for t in places], strict=True))
    return -sum(c * np.log(c / of_run[run]) for (run, _), c in of_both.items()) / len(places)


floors = [best_loss(n, first=6) for n in range(7)]  # the same positions for all n, so that the losses compare
for n, floor in enumerate(floors):
    print(f"{n} tokens known: {floor:.3f}")

assert all(more <= less + 1e-12 for less, more in pairwise(floors))
assert floors[1] > 0.3
assert floors[5] > 0.0  # five tokens may be ambiguous: "the mat. The dog" comes twice
assert floors[6] < 1e-12  # six are unambiguous, everywhere in this story

# %% [markdown]
# A model that attends only to one token (`sliding_window=1`, and no positions) reaches this floor and stays
# there. One with full attention reaches 0: it memorizes the story.

# %%
whole_x, whole_y = x.reshape(1, -1), y.reshape(1, -1)
sizes = {"block_size": len(words), "n_layer": 1, "n_head": 2, "n_embd": 32}
steps = pick(300, 150)
_, one_token = train(whole_x, whole_y, GPTConfig(V, **sizes, position="none", sliding_window=1), steps)
_, all_tokens = train(whole_x, whole_y, GPTConfig(V, **sizes), steps)
floor = best_loss(1)
print(f"one token: {one_token[-1]:.4f}, floor {floor:.4f}; all tokens: {all_tokens[-1]:.4f}")

picture, axes = figure()
axes.plot(one_token, label="sees one token")
axes.plot(all_tokens, label="sees all tokens before")
axes.axhline(floor, color="gray", linestyle=":", label="best with one token")
axes.axhline(np.log(V), color="gray", linestyle="--", label="a fair draw: ln 18")
axes.set(title="The context decides how low the loss can get", xlabel="step", ylabel="loss (nats)")
axes.legend()
show(
    picture,
    "Two models learn the story. The one that sees a single token ends at the floor that counting gives.",
)

assert min(one_token) >= floor - 1e-5  # nothing gets below the floor
assert one_token[-1] < floor + 0.05  # and training gets there
assert all_tokens[-1] < 0.1

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** A window of 256 tokens is one row of a batch of 64. How many predictions does one step
# train?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Cut ids `(N,)` into windows that do not overlap: inputs and targets of shape `(n, T)`.
# Drop tokens that do not fill a window. Note that the last target of a window is the first input of the
# next one.


# %%
def cut(ids, T):
    """Inputs and targets (n, T) of ids (N,)."""
    ...


exercises.check(2, cut)

# %% [markdown]
# **Exercise 3.** A target of −100 is ignored by the loss. Fine-tuning uses this to learn answers and not
# questions. Write a function that copies targets `(N,)` and sets all positions outside of `begin … end - 1`
# to −100.


# %%
def only(targets, begin, end):
    """A copy of the targets with −100 outside of begin … end - 1."""
    ...


exercises.check(3, only)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
