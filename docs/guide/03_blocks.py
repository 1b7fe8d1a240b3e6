# %% [markdown]
# # 3. Blocks
#
# **Goal.** Learn what a [block](glossary.md#block) of text is and what its size counts, and the four steps
# that all training repeats: show, predict, compare, adjust.
#
# No model reads a whole library at once. It reads a window of a limited number of tokens, the block (or
# [context window](glossary.md#context-window)), and learns from many of them. The longest block that a
# model can read is its [block size](glossary.md#block-size), here T.

# %%
from math import exp, log

import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt
from gpt import Batches, BPETokenizer, CharTokenizer, embedded_shakespeare
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.presets import preset
from tinytensor import nn

tt.manual_seed(3)
exercises = Exercises("03_blocks")

# %% [markdown]
# ## Windows over the story
#
# The story as ids is one long sequence. A block is a slice of it; the next one begins one token later, or
# anywhere else.

# %%
tokenizer = CharTokenizer.train(STORY)
ids = np.array(tokenizer.encode(STORY))
T = 8
for start in (0, 1, 2):
    print(start, repr(tokenizer.decode(ids[start : start + T])))

assert [tokenizer.decode(ids[s : s + T]) for s in (0, 1)] == ["The cat ", "he cat s"]

# %% [markdown]
# A model has to predict the next token. So each block comes with its [targets](glossary.md#target): the
# same window, one token later. `gpt.Batches` samples such pairs, several at a time ([a
# batch](glossary.md#batch), B blocks).

# %%
batches = Batches(ids, batch_size=4, block_size=T, seed=0)
inputs, targets = next(batches)
for block, target in zip(inputs, targets, strict=True):
    print(repr(tokenizer.decode(block)), "→", repr(tokenizer.decode(target)))

assert inputs.shape == targets.shape == (4, T)
assert (inputs[:, 1:] == targets[:, :-1]).all()  # the target of each token is the token after it
assert batches.n_windows == len(ids) - T  # each window needs one more token, for its last target

# %% [markdown]
# ## The size counts tokens
#
# Not characters, not words. With tokens of several characters (lesson 2), a block of the same size covers
# more text.

# %%
plays = embedded_shakespeare()[: pick(400_000, 100_000)]
merged = BPETokenizer.train(plays, pick(1024, 512))
of_characters = plays[:64]
of_pieces = merged.decode(merged.encode(plays[:2000])[:64])
print(f"64 characters: {of_characters!r}")
print(f"64 pieces:     {of_pieces!r}")

assert len(of_pieces) > 1.5 * len(of_characters)

# %% [markdown]
# Small models for learning have blocks of 64 to 512 tokens, GPT-2 has 1,024, GPT-3 has 2,048, and later
# models 8,192 and more. Why not simply more? Because each token attends to each token before it (lesson 9):
# a block twice as long has four times as many pairs.

# %%
sizes = {name: preset(name)[0].block_size for name in ("shakespeare-char", "gpt2", "gpt3")}
print(sizes)


def pairs(size):
    """How many pairs (token, itself or one before it) a block has."""
    return size * (size + 1) // 2


assert sizes == {"shakespeare-char": 256, "gpt2": 1024, "gpt3": 2048}
assert 3.9 < pairs(2048) / pairs(1024) < 4

# %% [markdown]
# The model has no access to text before the block, and a longer input raises an error:

# %%
small = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=T, n_layer=1, n_head=1, n_embd=8))
logits = small(tt.tensor([ids[:T].tolist()]))
try:
    small(tt.tensor([ids[: T + 1].tolist()]))
except tt.ShapeError as error:
    refusal = str(error)
print(refusal)

assert logits.shape == (1, T, tokenizer.vocab_size)  # next-token logits at each position
assert "longer than the context of 8" in refusal

# %% [markdown]
# ## Show, predict, compare, adjust
#
# Training is one loop around these four steps. To see it whole, take the smallest model there is: a table
# with one row for each token. The row has a number for each token that may come next, its
# [logit](glossary.md#logit). The model reads only one token, and is independent of those before.
#
# 1. **Show** the model a batch of blocks.
# 2. It **predicts**: logits for each position. `softmax` turns them into
#    [probabilities](glossary.md#softmax), positive numbers that sum to 1.
# 3. **Compare** with the targets. The [loss](glossary.md#loss) is small where the right token had a high
#    probability: its negative logarithm, averaged over all positions.
# 4. **Adjust** each number of the table a little, in the direction in which the loss falls (lesson 12).

# %%
V = tokenizer.vocab_size
table = nn.Embedding(V, V)
nn.init.zeros_(table.weight)
optimizer = tt.optim.SGD(table.parameters(), lr=20.0)
batches = Batches(ids, batch_size=16, block_size=T, seed=0)
losses = []

for _ in range(pick(300, 150)):
    inputs, targets = next(batches)  # show
    logits = table(tt.from_numpy(inputs))  # predict: (B, T, V)
    loss = tt.cross_entropy(logits.mT, tt.from_numpy(targets))  # compare; classes are axis 1
    loss.backward()
    optimizer.step()  # adjust
    optimizer.zero_grad()
    losses.append(loss.item())

print(f"loss at first {losses[0]:.3f}, at last {np.mean(losses[-20:]):.3f}")

assert abs(losses[0] - log(V)) < 1e-5  # untrained: every token equally likely, -ln(1/V)
assert np.mean(losses[-20:]) < losses[0] / 2

# %% [markdown]
# At first all 22 tokens were equally likely, a loss of ln 22 = 3.09. What has the table learned? In this
# story `h` always follows `T`. After `a` comes `t`, or another letter; since the table reads only one
# token, it cannot know which.

# %%


def next_of(character):
    """Tokens that may follow, the likeliest first."""
    (i,) = tokenizer.encode(character)
    chances = tt.softmax(table.weight[i]).tolist()
    order = sorted(range(V), key=lambda j: -chances[j])
    return [(tokenizer.decode([j]), round(chances[j], 2)) for j in order[:4]]


print("after T:", next_of("T"))
print("after a:", next_of("a"))

counts = {c: STORY.count("a" + c) for c in set(STORY)}
assert next_of("T")[0][0] == "h"
assert next_of("T")[0][1] > 0.9
assert next_of("a")[0][0] == max(counts, key=counts.get) == "t"
assert next_of("a")[0][1] < 0.9

# %%
picture, axes = figure()
axes.plot(losses, color="tab:blue", label="loss of the batch")
axes.axhline(log(V), color="tab:gray", linestyle="--", label="guessing evenly: ln 22")
axes.set(title="Show, predict, compare, adjust", xlabel="step", ylabel="loss")
axes.set_ylim(0)
axes.legend()
show(
    picture,
    "The loss of a table that predicts the next character from the one before, while it learns the story. It "
    "starts at ln 22, where all characters are equally likely, and stops falling where one character is not "
    "enough to know more.",
)

# %% [markdown]
# ## Why a block helps
#
# The table stops at a loss well above 0: after `e` alone the story continues in several ways. Given a
# longer block, the next character is nearly certain. Count it: for each run of n characters in the story,
# how certain is the next one?


# %%
def best_loss(n):
    """The lowest mean loss that is possible on the story with n characters in view."""
    places = range(n, len(STORY))
    total = 0.0
    for i in places:
        before = STORY[i - n : i]
        after = [STORY[j] for j in places if STORY[j - n : j] == before]
        total -= log(after.count(STORY[i]) / len(after))
    return total / len(places)


floor = [best_loss(n) for n in range(9)]
print([round(loss, 2) for loss in floor])

picture, axes = figure()
axes.bar(range(9), floor, color="tab:orange")
axes.set(
    title="The more it sees, the surer it can be",
    xlabel="characters in view",
    ylabel="lowest possible loss",
    xticks=range(9),
)
show(
    picture,
    "The lowest loss that any model can reach on this story, by how many of the characters before it sees. "
    "With none, it knows only which characters are frequent; with eight, there is hardly a doubt left.",
)

assert floor[0] > floor[1] > floor[2] > floor[4] > floor[8]
assert floor[8] < 0.1
assert np.mean(losses[-20:]) > floor[1] - 0.15  # the table cannot do better than one character allows
print(f"perplexity with one character: {exp(floor[1]):.1f}, as unsure as among so many equally likely ones")

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** A text has 20 tokens. How many different blocks of 8 tokens *with their targets* does it
# have?

# %%
answer = None
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Put the four steps in their order: a list of the words `"adjust"`, `"compare"`, `"predict"`,
# `"show"`.

# %%
answer = None
exercises.check(2, answer)

# %% [markdown]
# **Exercise 3.** Write `windows(ids, T)`: a list of all pairs (block, targets), both lists of T ids, in the
# order of the text.


# %%
def windows(ids, T):
    """All blocks and their targets."""
    ...


exercises.check(3, windows)
