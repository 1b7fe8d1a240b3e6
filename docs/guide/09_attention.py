# %% [markdown]
# # 9. Attention
#
# **Goal.** Build [attention](glossary.md#attention) from matrix products, and see the purpose of its parts:
# queries, keys and values, a softmax, a scale, a mask, several heads. Then train a model and inspect its
# attention weights.
#
# "The cat liked the mat. The dog liked the park." The word after "the" depends on the animal, three words
# earlier. So positions must exchange information. Attention does this, and it is the only part of a GPT
# where information flows from one token to another.

# %%
import re
from math import sqrt

import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.interpret.attention import attention_maps, render
from gpt.models.gpt import GPT

exercises = Exercises("09_attention")

# %% [markdown]
# ## Queries, keys, values
#
# Take three tokens, "The cat sat"; each is a vector of 4 numbers, its embedding (here random ones). Three
# matrices map each vector to three others:
#
# - the **query**: encodes what this token looks for,
# - the **key**: is matched against queries,
# - the **value**: is passed on to tokens whose query matches.
#
# The three matrices are weights: training finds them. At the start they are random, as here.

# %%
tokens = ["The", "cat", "sat"]
T, C = len(tokens), 4
generator = tt.Generator(3)
x = tt.randn(T, C, generator=generator)
W_q, W_k, W_v = [tt.randn(C, C, generator=generator) for _ in range(3)]
Q, K, V = x @ W_q, x @ W_k, x @ W_v  # (T, C) each

# %% [markdown]
# How well does a query match a key? Their dot product measures it: large if both point the same way. All
# dot products together are one matrix product, the **scores** `Q Kᵀ`: a row for each query, a column for
# each key.

# %%
scores = Q @ K.T / sqrt(C)  # (T, T)
weights = tt.softmax(scores)  # each row: positive numbers that sum to 1
y = weights @ V  # (T, C)
for name, row in zip(tokens, weights.tolist(), strict=True):
    print(f"{name} takes", ", ".join([f"{w:.2f} of {token}" for w, token in zip(row, tokens, strict=True)]))

one_score = sum([Q[2, c].item() * K[1, c].item() for c in range(C)]) / sqrt(C)  # query of "sat", key of "cat"
mixture = sum([weights[2, j].item() * V[j].numpy() for j in range(T)])

assert abs(scores[2, 1].item() - one_score) < 1e-5
assert np.allclose(weights.sum(1).numpy(), 1.0)
assert np.allclose(y[2].numpy(), mixture, atol=1e-5)  # the result is a weighted average of the values
assert np.allclose(
    y.numpy(),
    tt.scaled_dot_product_attention(Q[None, None], K[None, None], V[None, None])[0, 0].numpy(),
    atol=1e-5,
)

# %% [markdown]
# ## Why scores, and then softmax?
#
# A score may be any number: such numbers are called [logits](glossary.md#logit). Softmax turns them into
# weights, `exp(score)` divided by the sum of the row. It has three properties:
#
# - Only differences matter. A score larger by `d` than another gets `exp(d)` times the weight.
# - No weight is ever 0, so every score gets a gradient. A hard choice of the largest score would have slope
#   zero: a small change of a score changes nothing.
# - The weights sum to 1, so the result has the scale of the values, for any number of tokens.

# %%
row = tt.tensor([2.0, 1.0, -1.0], requires_grad=True)
share = tt.softmax(row)
share[0].backward()
print("shares", share.detach().numpy().round(3), "slopes of the first", row.grad.numpy().round(3))

assert np.isclose((share[0] / share[1]).item(), np.exp(2.0 - 1.0))
assert np.allclose(tt.softmax(row + 100.0).detach().numpy(), share.detach().numpy(), atol=1e-6)
assert (row.grad != 0).all()
hard = [tt.argmax(tt.tensor([first, 1.0, -1.0])).item() for first in (2.0, 2.01)]
assert hard[0] == hard[1]  # a hard choice is unchanged

# %% [markdown]
# ## Why the scale?
#
# A dot product of `d` numbers is a sum of `d` terms. If the numbers are random with variance 1, then so is
# each term, and the sum has variance `d`. Large models have heads of 64 or 128 numbers: without a scale
# their scores are around ±8 or ±11, and softmax gives nearly all the weight to one key. Then the slopes are
# nearly 0, and learning stops. Dividing by `√d` restores variance 1.

# %%
generator = tt.Generator(4)
sizes, count, keys = (4, 16, 64, 256, 1024), pick(1000, 400), 16
table = []
for d in sizes:
    q = tt.randn(count, 1, d, generator=generator)
    k = tt.randn(count, keys, d, generator=generator)
    products = (q @ k.mT).reshape(count, keys)
    largest = [tt.softmax(s).max(1).mean().item() for s in (products, products / sqrt(d))]
    table.append((products.var().item(), (products / sqrt(d)).var().item(), *largest))
    numbers = "d = {:<5} variance {:7.1f}, scaled {:.2f}; largest of 16 shares {:.2f}, scaled {:.2f}"
    print(numbers.format(d, *table[-1]))

picture, axes = figure(size=(6, 3.4))
axes.plot(sizes, [r[2] for r in table], marker="o", label="without a scale")
axes.plot(sizes, [r[3] for r in table], marker="o", label="divided by √d")
axes.set(
    title="How much one key of 16 gets", xlabel="d, numbers in a query", ylabel="mean of the largest share"
)
axes.set_xscale("log")
axes.set_ylim(0, 1)
axes.legend()
show(
    picture,
    "Random queries and keys. Without a scale, wide ones look at a single key; with it, width is no matter.",
)

for d, (plain, scaled, _, _) in zip(sizes, table, strict=True):
    assert abs(plain / d - 1) < 0.15
    assert abs(scaled - 1) < 0.15
both = [tt.softmax(s) for s in (products, products / sqrt(d))]  # of the widest
slopes = [(p * (1.0 - p)).max(1).mean().item() for p in both]  # d weight / d score
print("slope of a share, d = 1024: {:.3f}, scaled {:.3f}".format(*slopes))

assert slopes[0] < 0.3 * slopes[1]
assert table[-1][2] > 0.9  # nearly all for one key
assert table[-1][3] < 0.4
assert abs(table[-1][3] - table[1][3]) < 0.05  # the same for all widths

# %% [markdown]
# ## The causal mask is a triangle
#
# A model that generates text must not look ahead: in training the next token is part of the input (lesson
# 8). So the scores of later keys become −∞ before the softmax, and `exp(−∞) = 0`. A triangle remains: the
# first token attends to one token, the last one to all. This is the [causal mask](glossary.md#causal-mask).


# %%
def attention(q, k, v, mask=None):
    """Average of the values v, weighted by the match of queries q and keys k; True in the mask: excluded."""
    scores = q @ k.mT / sqrt(q.shape[-1])
    if mask is not None:
        scores = tt.masked_fill(scores, mask, -tt.inf)
    weights = tt.softmax(scores, -1)
    return weights @ v, weights


def future(T):
    """True above the diagonal of a (T, T) matrix."""
    return tt.triu(tt.ones(T, T), 1) != 0


y, weights = attention(Q, K, V, future(T))
print(weights.numpy().round(2))

assert (tt.triu(weights, 1) == 0).all()
assert weights[0].tolist() == [1.0, 0.0, 0.0]  # the first token attends only to itself

# %% [markdown]
# Now another last word, "The cat ran", does not change the results at positions before it. Without the mask
# it would.

# %%
other = x.clone()
other[2] = tt.randn(C, generator=generator)
q, k, v = other @ W_q, other @ W_k, other @ W_v

assert attention(q, k, v, future(T))[0][:2].tolist() == y[:2].tolist()  # bitwise equal
assert not np.allclose(attention(q, k, v)[0][:2].numpy(), attention(Q, K, V)[0][:2].numpy())

# %% [markdown]
# ## Several heads
#
# One softmax answers one question for each token. A sentence needs several: who acts, where, how did the
# sentence begin? So the channels are split into **heads**, which attend in parallel, each with its own
# small queries, keys and values. This adds no weights and copies nothing: a head is a view of the columns.

# %%
T, C, n_head = 5, 8, 2
x = tt.randn(T, C, generator=generator)
W = tt.randn(C, 3 * C, generator=generator) / sqrt(C)  # the three matrices side by side, as GPT-2 stores them
packed = x @ W  # (T, 3 C)
Q, K, V = packed.chunk(3, axis=-1)


def heads(z):
    """(T, C) → (n_head, T, C / n_head)."""
    return z.reshape(T, n_head, C // n_head).transpose(0, 1)


q, k, v = heads(Q), heads(K), heads(V)
print("a head of Q: shape", q[1].shape, "strides", q[1].strides, "offset", q[1].offset)
together = attention(q, k, v, future(T))[0]  # (n_head, T, C / n_head): all heads in one product
one_by_one = [attention(q[h], k[h], v[h], future(T))[0].numpy() for h in range(n_head)]
merged = together.transpose(0, 1).reshape(T, C)  # heads side by side again

assert q.shares_memory(packed)
assert np.allclose(together.numpy(), one_by_one, atol=1e-6)
assert np.allclose(merged.numpy(), tt.causal_self_attention(packed[None], n_head)[0].numpy(), atol=1e-5)

# %% [markdown]
# ## A trained model
#
# One block, two heads, and words as tokens, trained on the story. Its windows of 8 words begin at any word.

# %%
words = re.findall(r"\w+|\.", STORY)
vocabulary = sorted(set(words))


class Words:
    """The story's words as a tokenizer."""

    def encode(self, text):
        return [vocabulary.index(word) for word in re.findall(r"\w+|\.", text)]

    def decode(self, ids):
        return " ".join([vocabulary[i] for i in ids])


def trained(seed):
    """A small GPT trained on the story."""
    config = GPTConfig(len(vocabulary), block_size=8, n_layer=1, n_head=2, n_embd=32)
    model = GPT(config, tt.Generator(seed))
    optimizer = tt.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    windows = tt.tensor(2 * Words().encode(STORY)).unfold(0, 9)  # twice, so that each word begins a window
    for _ in range(pick(300, 120)):
        optimizer.zero_grad()
        model.loss(windows[:, :-1], windows[:, 1:]).backward()
        optimizer.step()
    return model.eval()


model = trained(seed=5)


def next_word(model, text):
    """The likeliest word after a text, and its probability."""
    with tt.no_grad():
        p = tt.softmax(model(tt.tensor([Words().encode(text)]))[0, -1])
    return vocabulary[p.argmax().item()], p.max().item()


for text in ("The cat sat", "The cat liked the", "The dog liked the"):
    print(f"{text:<18} → {next_word(model, text)[0]} ({next_word(model, text)[1]:.0%})")

assert next_word(model, "The cat sat")[0] == "on"
assert next_word(model, "The cat liked the")[0] == "mat"
assert next_word(model, "The dog liked the")[0] == "park"  # the same three words before, except one

# %% [markdown]
# The attention weights: each row is a query token, each column a key token, and a row sums to 1.

# %%
print(render(attention_maps(model, Words(), "The cat sat")))
text = "The cat liked the"
maps = attention_maps(model, Words(), text)
picture, both = figure(1, 2, size=(8, 3.8))
for axes, m in zip(both, maps, strict=True):
    axes.imshow(np.where(np.tri(4, dtype=bool), m.weights, np.nan), vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(4), m.tokens)
    axes.set_yticks(range(4), m.tokens)
    axes.set(title=f"head {m.head}", xlabel="looked at", ylabel="looks")
    for i, j in zip(*np.tril_indices(4), strict=True):
        axes.text(
            j,
            i,
            f"{m.weights[i, j]:.2f}",
            ha="center",
            va="center",
            color="white" if m.weights[i, j] > 0.5 else "black",
        )
show(picture, "Where each token of 'The cat liked the' looks, in the two heads. The future is left out.")
to_cat = max([m.weights[3, 1] for m in maps])
print(f"the last 'the' gives 'cat' up to {to_cat:.0%} of its attention")

for m in maps:
    assert np.allclose(m.weights.sum(1), 1.0, atol=1e-5)
    assert (np.triu(m.weights, 1) == 0).all()
assert to_cat > 1 / 4  # more than uniform attention

# %% [markdown]
# An attention map shows where a head attends, not the effect. To measure the effect of a position, mask it.
# Here is the whole model again, with our own attention, and with one position masked for all later queries.


# %%
def logits_with(model, text, hidden=None):
    """Logits after a text, with the position `hidden` masked for all later queries."""
    ids = tt.tensor([Words().encode(text)])
    block, T = model.h[0], ids.shape[1]
    mask = future(T)
    if hidden is not None:
        mask[hidden + 1 :, hidden] = True  # the position may still attend to itself
    with tt.no_grad():
        x = model.embed(ids)  # (1, T, C)
        q, k, v = block.attn.heads(block.ln_1(x))  # (1, nh, T, hs) each
        y = attention(q, k, v, mask)[0]
        x = x + block.attn.c_proj(y.transpose(1, 2).reshape(x.shape))
        x = x + block.mlp(block.ln_2(x))
        return model.head(x)[0, -1]


mat = vocabulary.index("mat")
with tt.no_grad():
    plain = model(tt.tensor([Words().encode(text)]))[0, -1]
sure = {j: tt.softmax(logits_with(model, text, j))[mat].item() for j in (None, 0, 1, 2)}
for j, p in sure.items():
    print(f"masked: {'(none)' if j is None else text.split()[j]:<15} p(mat) = {p:.2f}")

assert np.allclose(logits_with(model, text).numpy(), plain.numpy(), atol=1e-4)  # it is the same model
assert sure[None] > 0.9
assert (
    logits_with(model, "The cat liked the", 1).tolist() == logits_with(model, "The dog liked the", 1).tolist()
)
assert logits_with(model, "The cat liked the").tolist() != logits_with(model, "The dog liked the").tolist()

# %% [markdown]
# With the second word masked, cat and dog give bitwise equal results. All information about the animal at
# the last position comes through attention.
#
# ## Exercises
#
# **Exercise 1.** How many elements does the causal triangle have, the diagonal included, for a context of
# 1024 tokens?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Causal attention without a mask: iterate over the positions, and give each only the keys
# and values up to it. This is what a model does in generation. `q`, `k` and `v` are `(T, d)`.


# %%
def place_by_place(q, k, v):
    """Causal attention, (T, d)."""
    ...


exercises.check(2, place_by_place)

# %% [markdown]
# **Exercise 3.** A sliding window: each token attends to itself and the `window − 1` tokens before it.
# Write the mask `(T, T)`, True where attention is not allowed.


# %%
def hidden(T, window):
    """True where a query (row) may not attend to a key (column)."""
    ...


exercises.check(3, hidden)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
