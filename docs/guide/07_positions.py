# %% [markdown]
# # 7. Positions
#
# **Goal.** See that attention alone cannot tell "dog bites man" from "man bites dog", and two ways to
# encode positions: a learned table (GPT), and computed waves (the first transformer, 2017).
#
# An embedding encodes a token, not its position: "cat" has the same vector at the beginning and at the end
# of a sentence. Then the model mixes vectors by [attention](glossary.md#attention) (lesson 9), which is a
# weighted average. An average is independent of the order of its terms.

# %%
from math import cos, sin

import numpy as np
from lesson import Exercises, figure, pick, show

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.models.positions import sinusoidal_positions
from gpt.presets import preset
from tinytensor import nn

tt.manual_seed(7)
exercises = Exercises("07_positions")

# %% [markdown]
# ## Without positions, order is lost
#
# Six random vectors, an attention layer, and the same six in another order. Each vector gets the same
# result as before; only the results are permuted, too. Neighbours, "before" and "after" make no difference.

# %%
x = tt.randn(1, 6, 16)  # (B, T, C)
attention = nn.MultiheadAttention(16, 2, batch_first=True)
order = [3, 0, 5, 1, 4, 2]
before, after = [attention(y, y, y)[0] for y in (x, x[:, order])]
print(f"largest difference: {float(abs(before[:, order] - after).max()):.1e}")

assert tt.allclose(before[:, order], after, atol=1e-6)

# %% [markdown]
# Now a GPT with one block and without positions. Its prediction of the next token depends on *which* tokens
# precede the last one, not on their order. The prediction after "dog bites man ." and after "man bites dog
# ." is the same.

# %%
WORDS = ["dog", "bites", "man", "."]
DOG_FIRST, MAN_FIRST = [0, 1, 2, 3], [2, 1, 0, 3]
SIZES = {"vocab_size": len(WORDS), "block_size": 8, "n_head": 2, "n_embd": 16}


def difference(position, layers):
    """Difference of the predictions after the two sentences."""
    config = GPTConfig(**SIZES, n_layer=layers, position=position)
    model, generator = GPT(config), tt.Generator(1)
    for parameter in model.parameters():
        if parameter.ndim == 2:  # larger than at initialization, so that differences are visible
            nn.init.normal_(parameter, std=0.3, generator=generator)
    with tt.no_grad():
        logits = model(tt.tensor([DOG_FIRST, MAN_FIRST]), last_only=True)[:, 0]  # (2, V)
    return float(abs(logits[0] - logits[1]).max())


for position in ("none", "learned", "sinusoidal"):
    print(f"{position:<12} {difference(position, layers=1):.1e}")

assert difference("none", layers=1) < 1e-5
assert difference("learned", layers=1) > 1e-2
assert difference("sinusoidal", layers=1) > 1e-2

# %% [markdown]
# Strictly, with two blocks the symmetry is broken even without positions. A GPT's tokens attend only to
# those before them, so the output of the first block depends a little on their number, and the second block
# can use it (Haviv et al. 2022, arXiv:2203.16634). This signal is weak, so most models encode positions.

# %%
print(f"none, two blocks: {difference('none', layers=2):.1e}")

assert difference("none", layers=2) > 100 * difference("none", layers=1)

# %% [markdown]
# ## Learned positions
#
# GPT's method is simple: a second [embedding](glossary.md#embedding) table with one row for each position
# in the block, the [positional embedding](glossary.md#positional-embedding). The row of the token and the
# row of the position are added. Both are learned. There is no row for a position beyond the block, so a
# longer text cannot be read (lesson 3).

# %%
learned = GPT(GPTConfig(**SIZES, n_layer=1))
ids = tt.tensor([DOG_FIRST])
embedded = learned.embed(ids)  # (1, T, C)

assert learned.wpe.weight.shape == (8, 16)  # (block_size, C)
for t, i in enumerate(DOG_FIRST):
    assert tt.allclose(embedded[0, t], learned.wte.weight[i] + learned.wpe.weight[t])

twice = learned.embed(tt.tensor([[0, 1, 0]]))[0]  # the same word at places 0 and 2
assert twice[0].tolist() != twice[2].tolist()

gpt2 = preset("gpt2")[0]
print(f"GPT-2: {gpt2.block_size} places of {gpt2.n_embd} numbers")
assert (gpt2.position, gpt2.block_size, gpt2.n_embd) == ("learned", 1024, 768)

# %% [markdown]
# Why *add* them; does that not mix up both? In many dimensions two random directions are nearly orthogonal
# (lesson 5), so a later matrix can read the token nearly independently of the position, or vice versa.
#
# ## Sinusoidal positions
#
# The first transformer used a table without parameters (Vaswani et al. 2017, arXiv:1706.03762, section
# 3.5). Position t gets in each pair of channels 2i and 2i + 1 the hand of a clock:
#
#     p[t, 2i]     = sin(t / 10000^(2i/C))
#     p[t, 2i + 1] = cos(t / 10000^(2i/C))
#
# The first clock turns fast, by one radian a token; the next ones ever more slowly. Like the hands for
# seconds, minutes and hours, together they identify any position.

# %%
T, C = 64, 32
waves = sinusoidal_positions(T, C).numpy()
formula = [[(sin, cos)[c % 2](t / 10000 ** (c // 2 * 2 / C)) for c in range(C)] for t in range(T)]

assert waves.shape == (T, C)
assert np.abs(waves - formula).max() < 1e-5
assert np.abs(waves).max() <= 1
assert len({tuple(row) for row in waves.round(3)}) == T  # all positions differ

# %%
picture, (left, right) = figure(1, 2, size=(8.5, 3.6))
image = left.imshow(waves, cmap="RdBu", aspect="auto")
left.set(title="Sinusoidal positions", xlabel="channel", ylabel="position t")
picture.colorbar(image, ax=left).set_label("value added")
for channel in (0, 6, 12):
    right.plot(waves[:, channel], label=f"channel {channel}")
right.set(title="Three of the channels", xlabel="position t", ylabel="value added")
right.legend(loc="lower right")
show(
    picture,
    "Left: what is added to the embedding at each position (from top to bottom) in each channel (from left "
    "to right). Right: three channels as curves. The further to the right a channel is, the slower it "
    "swings.",
)

# %% [markdown]
# Clocks have a useful property: k tokens further, all hands have turned by fixed angles, at any position.
# So "three positions before" is the same linear map everywhere, which a matrix can learn. And the
# similarity of two positions depends only on their distance.

# %%
k = 5
rates = 10000.0 ** (-np.arange(0, C, 2) / C)
turn = np.zeros((C, C))
for i, rate in enumerate(rates):
    turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [
        [np.cos(k * rate), -np.sin(k * rate)],
        [np.sin(k * rate), np.cos(k * rate)],
    ]

assert np.abs(waves[:-k] @ turn - waves[k:]).max() < 1e-5  # one matrix shifts every position by 5

likeness = waves @ waves.T  # (T, T)
for distance in (1, 5, 20):
    same = np.diagonal(likeness, distance)
    assert same.max() - same.min() < 1e-4  # the same for all pairs at this distance
assert likeness[0, 0] > likeness[0, 1] > likeness[0, 2] > likeness[0, 3]

# %% [markdown]
# There is nothing to learn, and no limit: the formula has a value for every position. Learned tables did as
# well in the 2017 paper, and GPT uses those. The position table is the only difference in the number of
# weights:

# %%
sizes = {
    p: GPT(GPTConfig(**SIZES, n_layer=1, position=p)).num_parameters()
    for p in ("none", "learned", "sinusoidal")
}
print(sizes)

assert sizes["none"] == sizes["sinusoidal"]
assert sizes["learned"] - sizes["none"] == 8 * 16

# %% [markdown]
# ## Does it matter?
#
# A task that needs positions: a model reads eight random letters, and has to predict the third one. One
# block, a few hundred steps. The embeddings of the letters are initialized as large as the waves: against
# waves from −1 to 1, GPT's usual 0.02 would have little effect at first. (The 2017 paper multiplies its
# embeddings by √C.)

# %%
LETTERS, LENGTH, WANTED = 10, 8, 2


def train(position):
    """The losses of a small GPT on the task."""
    sizes = {"vocab_size": LETTERS, "block_size": LENGTH, "n_layer": 1, "n_head": 2, "n_embd": 32}
    model = GPT(GPTConfig(**sizes, position=position, tied_head=False), tt.Generator(0))
    # the same scale in all three: with sinusoidal positions a GPT multiplies its tokens by sqrt(C)
    nn.init.normal_(model.wte.weight, std=0.5 / model.token_scale, generator=tt.Generator(1))
    optimizer = tt.optim.AdamW(model.parameters(), lr=0.005)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(pick(300, 150)):
        batch = rng.integers(0, LETTERS, (64, LENGTH))
        logits = model(tt.from_numpy(batch), last_only=True)[:, 0]
        loss = tt.cross_entropy(logits, tt.tensor(batch[:, WANTED]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


runs = {position: train(position) for position in ("none", "learned", "sinusoidal")}
final = {position: float(np.mean(losses[-20:])) for position, losses in runs.items()}
print({position: round(loss, 3) for position, loss in final.items()})

assert final["none"] > 1.5  # it can only guess among the letters of the input
assert final["learned"] < 0.3
assert final["sinusoidal"] < 0.3

# %%
picture, axes = figure()
for position, losses in runs.items():
    axes.plot(losses, label=f"positions: {position}")
axes.set(title="Tell the third of eight letters", xlabel="step", ylabel="loss")
axes.set_ylim(0)
axes.legend()
show(
    picture,
    "The loss of a small GPT that is to tell the third of eight letters. With positions, learned or "
    "sinusoidal, it learns to; without, it can only guess among the letters that are there, however long it "
    "trains.",
)

# %% [markdown]
# Later models rotate queries and keys by an angle that grows with the position (`position="rope"`), or
# lower the scores with the distance (`position="alibi"`); both encode the position in the attention itself
# instead of the embedding.
#
# ## Exercises
#
# **Exercise 1.** Which four numbers does the sinusoidal table add at position 0, for C = 4? Answer with a
# list.

# %%
answer = None
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** How many weights does GPT-2's table of learned positions have?

# %%
answer = None
exercises.check(2, answer)

# %% [markdown]
# **Exercise 3.** Write `place(t, C)`: the sinusoidal vector of position t as a list of C numbers.


# %%
def place(t, C):
    """Sines and cosines of position t."""
    ...


exercises.check(3, place)
