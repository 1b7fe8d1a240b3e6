# %% [markdown]
# # 10. The block
#
# **Goal.** Put the block together: attention and feed-forward, each with a norm and a [residual
# connection](glossary.md#residual-connection). See the purpose of the connection and the norm, why the norm
# moved from after the sum to before the part, and how blocks become encoders and decoders.
#
# A GPT is one block, repeated: 12 times in GPT-2, 96 times in GPT-3. A block has two parts. In attention
# the tokens exchange information (lesson 9). The feed-forward part processes each token separately (lesson
# 6).

# %%
from math import sqrt

import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt
from gpt import CharTokenizer
from gpt.config import GPTConfig
from gpt.data.batches import Batches
from gpt.generation.generate import generate
from gpt.lessons.seq2seq import EncoderDecoder
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_shapes
from gpt.presets import preset

exercises = Exercises("10_the_block")

# %% [markdown]
# ## Residual: add, do not replace
#
# A stack of layers replaces its input again and again: `x ← f(x)`. A residual stack adds: `x ← x + f(x)`.
# This matters for the gradient at the first layer. It passes through the sum unchanged, since the slope of
# `x` in `x + f(x)` is 1. Through each `f` it is multiplied by slopes below 1, and vanishes.


# %%
def gradient_norms(layers, residual, C=32, seed=0):
    """Norm of the gradient at the input of each tanh layer."""
    generator = tt.Generator(seed)
    x = tt.randn(16, C, generator=generator).requires_grad_()
    stream = [x]
    for _ in range(layers):
        f = tt.tanh(stream[-1] @ tt.randn(C, C, generator=generator) * (0.5 / sqrt(C)))
        stream.append(stream[-1] + f if residual else f)
    error = (stream[-1] * tt.randn(16, C, generator=generator)).sum()
    return [tt.vector_norm(grad).item() for grad in tt.grad(error, stream[:-1])]


layers = 24
plain, added = gradient_norms(layers, residual=False), gradient_norms(layers, residual=True)
picture, axes = figure()
axes.semilogy(range(layers), plain, label="x ← f(x)")
axes.semilogy(range(layers), added, label="x ← x + f(x)")
axes.set(
    title="What reaches the lower layers", xlabel="layer (0 is the first)", ylabel="norm of the gradient"
)
axes.legend()
show(
    picture,
    "The gradient at the input of each of 24 layers. Without the sum, it does not reach the first.",
)
print(f"first against last: {plain[0] / plain[-1]:.1e} without the sum, {added[0] / added[-1]:.2f} with it")

assert plain[0] < 1e-4 * plain[-1]
assert added[0] > 0.1 * added[-1]

# %% [markdown]
# ## Norm: every token at the same scale
#
# Sums grow. A [layer norm](glossary.md#layer-norm) normalizes each token: it subtracts the mean of its
# channels and divides by their standard deviation, so the next part always gets inputs of the same scale.
# Then it scales and shifts each channel by learned parameters, initialized to 1 and 0.

# %%
x = 5.0 + 3.0 * tt.randn(4, 64, generator=tt.Generator(1))
normed = tt.layer_norm(x, (64,), tt.ones(64), tt.zeros(64))
by_hand = (x - x.mean(1, keepdims=True)) / tt.sqrt(tt.var(x, 1, keepdims=True) + 1e-5)

assert np.allclose(normed.mean(1).numpy(), 0.0, atol=1e-5)
assert np.allclose(tt.var(normed, 1).numpy(), 1.0, atol=1e-3)
assert np.allclose(normed.numpy(), by_hand.numpy(), atol=1e-5)
assert np.allclose(tt.layer_norm(10.0 * x, (64,)).numpy(), normed.numpy(), atol=1e-4)

# %% [markdown]
# ## The block in two lines
#
# `x + attention(norm(x))`, then `x + feed_forward(norm(x))`. The result is compared with
# `gpt/models/gpt.py`, with the same weights.

# %%
T, C = 6, 32
config = GPTConfig(vocab_size=10, block_size=T, n_layer=1, n_head=4, n_embd=C)
block = GPT(config, tt.Generator(2)).h[0]
x = tt.randn(1, T, C, generator=tt.Generator(3))


def feed_forward(block, x):
    """GELU(x W₁ + b₁) W₂ + b₂, for each token by itself."""
    up, down = block.mlp.c_fc, block.mlp.c_proj
    return tt.gelu(x @ up.weight + up.bias, approximate="tanh") @ down.weight + down.bias


def our_block(block, x):
    """(1, T, C) → (1, T, C)."""
    x = x + block.attn(block.ln_1(x))
    return x + feed_forward(block, block.ln_2(x))


with tt.no_grad():
    y = our_block(block, x)
    backwards = tt.flip(feed_forward(block, tt.flip(x, axis=1)), axis=1)
    hidden = block.mlp.c_fc(x)

assert y.shape == x.shape  # so blocks can be stacked
assert np.allclose(y.numpy(), block(x).detach().numpy(), atol=1e-5)
assert np.allclose(
    backwards.numpy(), feed_forward(block, x).detach().numpy(), atol=1e-6
)  # independent of neighbors
assert hidden.shape == (1, T, 4 * C)  # the feed-forward part is four times as wide inside

# %% [markdown]
# ## The stream
#
# All parts read from one residual stream, and add to it. So the output is the embedding plus the sum of the
# outputs of all parts, and nothing is overwritten.

# %%
deep = GPT(GPTConfig(vocab_size=10, block_size=T, n_layer=4, n_head=4, n_embd=C), tt.Generator(4)).eval()
ids = tt.tensor([[3, 1, 4, 1, 5, 9]])
with tt.no_grad():
    stream = deep.embed(ids)
    parts = [stream]
    for layer in deep.h:
        parts.append(layer.attn(layer.ln_1(stream)))
        stream = stream + parts[-1]
        parts.append(layer.mlp(layer.ln_2(stream)))
        stream = stream + parts[-1]
    top = deep.head(sum(parts[1:], parts[0]))

assert len(parts) == 1 + 2 * 4
assert np.allclose(top.numpy(), deep(ids).detach().numpy(), atol=1e-5)

# %% [markdown]
# ## Pre-norm and post-norm
#
# The transformer of 2017 put the norm after the sum: `norm(x + f(x))`. GPT-2 put it before the part: `x +
# f(norm(x))`. With the norm before the part, the stream itself is never normalized between blocks. It grows
# with each sum, and the last norm divides by its size, once. So the deeper a pre-norm model is, the smaller
# are the gradients of its last blocks, and their steps. With the norm after each sum the last blocks get
# the full gradient at any depth (Xiong et al. 2020, arXiv:2002.04745). Let us measure it, with weights as
# in 2017: random, of variance 1 / inputs.


# %%
def untrained(norm_position, n_layer, vocab_size, seed=0):
    """A GPT with weights of variance 1 / inputs, and the generator that sampled them."""
    config = GPTConfig(
        vocab_size, block_size=32, n_layer=n_layer, n_head=4, n_embd=32, norm_position=norm_position
    )
    generator = tt.Generator(seed)
    model = GPT(config, generator)
    with tt.no_grad():
        for layer in model.h:
            for linear in (layer.attn.c_attn, layer.attn.c_proj, layer.mlp.c_fc, layer.mlp.c_proj):
                shape = linear.weight.shape
                linear.weight.copy_(tt.randn(*shape, generator=generator) / sqrt(shape[0]))
    return model, generator


def last_gradient(norm_position, n_layer, seeds=4):
    """Norm of the gradient of the last matrix of the last block: the mean of some models."""
    norms = []
    for seed in range(seeds):
        model, generator = untrained(norm_position, n_layer, vocab_size=20, seed=seed)
        ids = tt.randint(0, 20, (8, 17), generator=generator)
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
        norms.append(tt.vector_norm(model.h[-1].mlp.c_proj.weight.grad).item())
    return sum(norms) / seeds


depths = (2, 4, 8, 16)
found = {kind: [last_gradient(kind, depth) for depth in depths] for kind in ("pre", "post")}
for kind, norms in found.items():
    print(
        f"{kind}-norm:", ", ".join([f"{d} blocks {norm:.3f}" for d, norm in zip(depths, norms, strict=True)])
    )

assert found["pre"][0] > 2 * found["pre"][-1]  # about the root of the depth: √(16 / 2) = 2.8
assert max(found["post"]) < 1.8 * min(found["post"])

# %% [markdown]
# Now train both, 8 blocks deep, at a learning rate that suits the pre-norm model, from the first step on.
# The post-norm model only learns the frequencies of the characters. At a third of the rate it learns more.
# (Or with a warmup: a rate that begins low and rises.)

# %%
tokenizer = CharTokenizer.train(STORY)
frequency = np.bincount(tokenizer.encode(STORY)) / len(STORY)
only_frequencies = -(frequency * np.log(frequency)).sum()


def learn(norm_position, lr):
    """Losses during training."""
    model, _ = untrained(norm_position, n_layer=8, vocab_size=tokenizer.vocab_size)
    optimizer = tt.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    batches = Batches(tokenizer.encode(2 * STORY), batch_size=8, block_size=32, seed=0)
    losses = []
    for _ in range(pick(250, 150)):
        x, y = map(tt.from_numpy, next(batches))
        optimizer.zero_grad()
        loss = model.loss(x, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


curves = {(kind, lr): learn(kind, lr) for kind, lr in (("pre", 3e-3), ("post", 3e-3), ("post", 1e-3))}
picture, axes = figure()
for (kind, lr), losses in curves.items():
    axes.plot(losses, label=f"{kind}-norm, learning rate {lr:g}")
axes.axhline(only_frequencies, color="gray", linestyle=":", label="knows frequencies only")
axes.set(title="Eight blocks, no warmup", xlabel="step", ylabel="loss (nats)")
axes.legend()
show(picture, "The same model, trained three times. With the norm behind the sum it bears a low rate only.")
print(
    {key: round(losses[-1], 2) for key, losses in curves.items()}, "frequencies:", only_frequencies.round(2)
)

assert curves["pre", 3e-3][-1] < 0.5 * only_frequencies
assert min(curves["post", 3e-3]) > 0.85 * only_frequencies
assert curves["post", 1e-3][-1] < 0.75 * only_frequencies

# %% [markdown]
# A disadvantage: the stream is unbounded. So a pre-norm model has one more norm, `ln_f`, before its output.
#
# ## Stacks
#
# Each block has the same shape, and weights of its own. So the size of a model is linear in its depth.

# %%
for name in ("gpt2", "gpt2-medium", "gpt3"):
    shapes = parameter_shapes(preset(name)[0])
    in_blocks = sum([int(np.prod(shape)) for key, shape in shapes.items() if key.startswith("h.")])
    config = preset(name)[0]
    per_block = in_blocks // config.n_layer
    print(f"{name:<12} {config.n_layer} blocks of {per_block:,} weights, {config.n_embd:,} channels")
    C = config.n_embd
    assert per_block == 12 * C * C + 13 * C  # 4 C² in attention, 8 C² in feed-forward; biases and norms

# %% [markdown]
# ## Encoder, decoder, and both
#
# The same parts make three kinds of models. They differ in the attention mask:
#
# - an **encoder** (BERT) reads: each token attends to all others;
# - a **decoder** (GPT) writes: each token attends to itself and those before it;
# - an **encoder-decoder** (the translator of 2017) has both. Its decoder also attends to the encoder's
#   tokens, by [cross-attention](glossary.md#cross-attention): queries of one text, keys and values of
#   another.
#
# Let us compute with autograd which outputs depend on which inputs.


# %%
def attend(q, k, v, mask=None):
    """Softmax attention, as in lesson 9."""
    scores = q @ k.mT / sqrt(q.shape[-1])
    if mask is not None:
        scores = tt.masked_fill(scores, mask, -tt.inf)
    return tt.softmax(scores, -1) @ v


def depends(function, *inputs):
    """For the last input (n, C): whether row i of the result depends on its row j."""
    seen = []
    asked = inputs[-1].detach().clone().requires_grad_()
    y = function(*inputs[:-1], asked)
    for i in range(len(y)):
        (grad,) = tt.grad(y[i].sum(), [asked], retain_graph=True)
        seen.append((tt.abs(grad).sum(1) > 1e-9).tolist())
    return np.array(seen)


generator = tt.Generator(6)
source, target, C = 6, 4, 8
English, French = tt.randn(source, C, generator=generator), tt.randn(target, C, generator=generator)
W_q, W_k, W_v = [tt.randn(C, C, generator=generator) / sqrt(C) for _ in range(3)]
causal = tt.triu(tt.ones(target, target), 1) != 0

seen = {
    "encoder": depends(lambda x: attend(x @ W_q, x @ W_k, x @ W_v), English),
    "decoder": depends(lambda x: attend(x @ W_q, x @ W_k, x @ W_v, causal), French),
    "cross-attention": depends(
        lambda x, memory: attend(x @ W_q, memory @ W_k, memory @ W_v), French, English
    ),
}
picture, three = figure(1, 3, size=(9, 3.2))
for axes, (kind, square) in zip(three, seen.items(), strict=True):
    axes.imshow(square, cmap="Blues", vmin=0, vmax=1.5)
    axes.set(title=kind, xlabel="place that is seen", ylabel="place that sees")
    axes.set(xticks=range(square.shape[1]), yticks=range(square.shape[0]))
show(picture, "Who sees whom (dark). In cross-attention each place of one text sees all places of the other.")

assert seen["encoder"].shape == (source, source)
assert seen["encoder"].all()
assert (seen["decoder"] == np.tri(target, dtype=bool)).all()
assert seen["cross-attention"].shape == (target, source)  # a rectangle: the texts differ in length
assert seen["cross-attention"].all()


# %% [markdown]
# Does a model use it? Here is an encoder-decoder that learns to write six digits backwards. Its decoder
# gets a start token, and then its own output so far; the digits themselves are only in the encoder.

# %%
digits, BEGIN = 6, 10
rng = np.random.default_rng(0)
model = EncoderDecoder(GPTConfig(11, block_size=digits + 1, n_layer=1, n_head=1, n_embd=32), tt.Generator(1))
optimizer = tt.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
for _ in range(pick(400, 200)):
    given = rng.integers(0, 10, (64, digits))
    wanted = given[:, ::-1].copy()
    written = np.hstack([np.full((64, 1), BEGIN), wanted[:, :-1]])
    optimizer.zero_grad()
    model.read(tt.asarray(given))
    model.loss(tt.asarray(written), tt.asarray(wanted)).backward()
    optimizer.step()
model.eval()


def backwards_of(row):
    """The output of the model for a row of digits."""
    with tt.no_grad():
        model.read(tt.tensor([row]))
        return list(generate(model, [BEGIN], digits, temperature=0))


fresh = rng.integers(0, 10, (50, digits)).tolist()
right = sum([backwards_of(row) == row[::-1] for row in fresh])
print(fresh[0], "→", backwards_of(fresh[0]), f"; {right} of 50 rows right")

assert right >= 48

# %% [markdown]
# These are the attention weights of its decoder: to write digit 0, it attends to the last position of the
# source; then to the one before it. This was learned from the task alone. (It need not hold at each
# position: the encoder may have moved digits already.)

# %%
taken = []
cross = model.h[0].cross
hook = cross.register_forward_pre_hook(lambda module, inputs: taken.append(inputs))
with tt.no_grad():
    model.read(tt.tensor(fresh))
    model(tt.tensor([[BEGIN, *row[:0:-1]] for row in fresh]))
    hook.remove()
    ((stream, memory),) = taken  # inputs of cross-attention: (50, 6, C), and the keys of the source
    looks = tt.softmax(cross.c_q(stream) @ memory.keys[:, 0].mT / sqrt(32), -1).mean(0).numpy()  # (6, 6)

picture, axes = figure(size=(4.6, 4))
axes.imshow(looks, cmap="Blues", vmin=0, vmax=1)
axes.set(title="Cross-attention", xlabel="place that was read", ylabel="place that is written")
show(
    picture,
    "Six digits are written backwards (mean of 50 rows): each place looks at its partner in the source.",
)

assert (looks.argmax(1) == np.arange(digits)[::-1]).sum() >= 4
assert np.fliplr(looks).diagonal().mean() > 0.5

# %% [markdown]
# A GPT has no encoder: the text to be translated precedes the translation in the same window. This is
# called decoder-only.
#
# ## Exercises
#
# **Exercise 1.** GPT-2 has 768 channels and 12 blocks. How many matrix weights do its blocks have (without
# biases and norms)?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Write a post-norm block, as in 2017. `attention`, `feed_forward`, `norm_1` and `norm_2`
# are functions.


# %%
def post_norm(x, attention, feed_forward, norm_1, norm_2):
    """The stream after a block of the 2017 transformer."""
    ...


exercises.check(2, post_norm)

# %% [markdown]
# **Exercise 3.** RMS norm, which Llama uses, does not subtract the mean: it divides by the root of the mean
# square. Write it for `x` of shape `(…, C)`.


# %%
def rms_norm(x, eps=1e-5):
    """x divided by the root of (the mean of its squares + eps), row by row."""
    ...


exercises.check(3, rms_norm)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
