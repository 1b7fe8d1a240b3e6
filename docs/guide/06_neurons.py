# %% [markdown]
# # 6. Neurons and activations
#
# **Goal.** Learn what one artificial [neuron](glossary.md#neuron) computes, why it needs a nonlinearity and
# why a step function does not work, build a small network that reads digits, and find the neurons inside a
# GPT.
#
# A neuron computes a weighted sum of its inputs, adds a [bias](glossary.md#bias), and applies a nonlinear
# function:
#
#     output = activation(weight₁ · input₁ + weight₂ · input₂ + … + bias)
#
# A [layer](glossary.md#layer) is many neurons on the same inputs, which is one matrix product: `activation(x
# @ W + b)`.

# %%
from math import erf, sqrt

import numpy as np
from lesson import Exercises, figure, pick, show

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.presets import preset
from tinytensor import nn

tt.manual_seed(6)
exercises = Exercises("06_neurons")

# %% [markdown]
# ## The perceptron
#
# The first artificial neuron (Rosenblatt, 1958) uses a step function: 1 if the sum is above zero, 0
# otherwise. With the right weights it computes AND and OR of two inputs.

# %%
CASES = tt.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def perceptron(x, weights, bias):
    """1 where the weighted sum is above zero, else 0."""
    return tt.heaviside(x @ tt.tensor(weights) + bias, 0.0)


print("AND", perceptron(CASES, [1.0, 1.0], -1.5).tolist())
print("OR ", perceptron(CASES, [1.0, 1.0], -0.5).tolist())

assert perceptron(CASES, [1.0, 1.0], -1.5).tolist() == [0, 0, 0, 1]
assert perceptron(CASES, [1.0, 1.0], -0.5).tolist() == [0, 1, 1, 1]

# %% [markdown]
# One perceptron can never compute XOR, "one or the other, but not both". It would need: bias ≤ 0 (for 0,
# 0), w₁ + bias > 0, w₂ + bias > 0, and w₁ + w₂ + bias ≤ 0. Add the two in the middle: w₁ + w₂ + 2 bias > 0.
# Add the outer two: w₁ + w₂ + 2 bias ≤ 0. This is a contradiction. A search finds no solution, as expected;
# two layers compute it: OR, but not AND.

# %%
XOR = [0, 1, 1, 0]
grid = [k / 4 for k in range(-8, 9)]
found = [
    (w1, w2, bias)
    for w1 in grid
    for w2 in grid
    for bias in grid
    if [float(w1 * a + w2 * b + bias > 0) for a, b in CASES.tolist()] == XOR
]
either, both = perceptron(CASES, [1.0, 1.0], -0.5), perceptron(CASES, [1.0, 1.0], -1.5)  # OR, AND
hidden = tt.stack([either, both], axis=1)
two_layers = perceptron(hidden, [1.0, -1.0], -0.5)
print(
    f"{len(grid) ** 3:,} perceptrons tried, {len(found)} compute XOR; two layers give {two_layers.tolist()}"
)

assert not found
assert two_layers.tolist() == XOR

# %% [markdown]
# So several layers are needed. But how to find their weights? By gradients (lesson 12): how does the error
# change when a weight changes a little? With a step function: not at all, almost everywhere. Its slope is
# zero, so there is nothing to learn from.

# %%
z = tt.tensor([-2.0, -0.5, 0.5, 2.0], requires_grad=True)
tt.heaviside(z, 0.0).sum().backward()
print("slope of the step:", z.grad.tolist())

assert z.grad.tolist() == [0, 0, 0, 0]

# %% [markdown]
# ## Smooth activations
#
# Four [activations](glossary.md#activation-function) that have a slope:
#
# - [sigmoid](glossary.md#sigmoid) 1 / (1 + e⁻ᶻ): a soft step from 0 to 1;
# - tanh: the same shape from −1 to 1;
# - [ReLU](glossary.md#relu) max(0, z): nothing below zero, everything above;
# - [GELU](glossary.md#gelu) z · Φ(z), where Φ(z) is the share of normally distributed numbers below z: a soft
#   ReLU, and GPT's choice (Hendrycks and Gimpel 2016, arXiv:1606.08415).
#
# The engine computes values and slopes.

# %%
ACTIVATIONS = {"sigmoid": tt.sigmoid, "tanh": tt.tanh, "ReLU": tt.relu, "GELU": tt.gelu}
points = np.linspace(-5, 5, 201, dtype=np.float32)
curves, slopes = {}, {}
for name, activation in ACTIVATIONS.items():
    z = tt.tensor(points, requires_grad=True)
    y = activation(z)
    y.sum().backward()
    curves[name], slopes[name] = y.detach().numpy(), z.grad.numpy()

picture, (left, right) = figure(1, 2, size=(8, 3.6))
for name in ACTIVATIONS:
    left.plot(points, curves[name], label=name)
    right.plot(points, slopes[name], label=name)
left.set(title="Activations", xlabel="weighted sum z", ylabel="output", ylim=(-1.3, 3))
right.set(title="Their slopes", xlabel="weighted sum z", ylabel="slope", ylim=(-0.2, 1.3))
left.legend()
right.legend()
show(
    picture,
    "Left: what a neuron gives for its weighted sum z. Right: the slope of that curve, which is what "
    "learning works with. Sigmoid and tanh are flat on both sides; ReLU and GELU keep a slope near 1 for all "
    "positive z.",
)

assert abs(slopes["sigmoid"].max() - 0.25) < 1e-6  # never steeper than a quarter, at z = 0
assert abs(slopes["tanh"].max() - 1) < 1e-6
assert slopes["sigmoid"][-1] < 0.01  # flat at z = 5
assert slopes["tanh"][-1] < 0.001
assert set(slopes["ReLU"][points < 0]) == {0.0}
assert set(slopes["ReLU"][points > 0]) == {1.0}
assert slopes["GELU"][-1] > 0.99
assert curves["GELU"].min() < -0.15  # unlike ReLU, it dips below zero

normal = np.array([z * (1 + erf(z / sqrt(2))) / 2 for z in points])  # z · Φ(z)
assert np.abs(tt.gelu(tt.tensor(points), approximate="none").numpy() - normal).max() < 2e-6
assert np.abs(curves["GELU"] - normal).max() < 5e-4  # GPT-2 takes a formula with tanh that is nearly the same

# %% [markdown]
# ## Gradients that vanish
#
# To reach the first of many layers, the gradient passes through all the others, and is multiplied by their
# slopes on the way. With sigmoids each factor is at most ¼: after 20 layers at most 0.25²⁰, a millionth of
# a millionth. Then the first layers learn nothing. This is the [vanishing
# gradient](glossary.md#vanishing-gradient). Let us measure it: 20 layers of 64 neurons, random weights
# (scaled so that activations keep their size), and the gradient of the first layer relative to that of the
# last.

# %%
DEPTH, WIDTH = 20, 64


def first_to_last(activation, gain):
    """Norm of the gradient at the first layer, relative to that at the last."""
    generator = tt.Generator(0)
    weights = [
        tt.normal(0.0, sqrt(gain / WIDTH), (WIDTH, WIDTH), generator=generator).requires_grad_()
        for _ in range(DEPTH)
    ]
    x = tt.normal(0.0, 1.0, (32, WIDTH), generator=generator)
    for weight in weights:
        x = activation(x @ weight)
    (x * x).mean().backward()
    norms = [tt.norm(weight.grad).item() for weight in weights]
    return norms[0] / norms[-1]


shares = {
    name: first_to_last(ACTIVATIONS[name], gain) for name, gain in zip(ACTIVATIONS, (1, 1, 2, 2), strict=True)
}
for name, share in shares.items():
    print(f"{name:<8} {share:.1e}")

assert shares["sigmoid"] < 1e-8
assert all(shares[name] > 1e-3 for name in ("tanh", "ReLU", "GELU"))
assert slopes["sigmoid"].max() ** DEPTH < 1e-11  # no product of so many slopes can be larger

picture, axes = figure()
axes.bar(list(shares), list(shares.values()), color=["tab:blue", "tab:orange", "tab:green", "tab:red"])
axes.set_yscale("log")
axes.set(
    title=f"What arrives at the first of {DEPTH} layers",
    xlabel="activation",
    ylabel="gradient of layer 1 / of layer 20",
)
show(
    picture,
    "The size of the gradient at the first layer, as a share of that at the last, on a logarithmic scale. "
    "With sigmoids hardly anything arrives; with the others, the first layer can learn.",
)

# %% [markdown]
# ## Reading digits
#
# This is enough to build a network. The images are generated here: digits in a 5 by 7 dot matrix, at a
# random position in 12 by 12 pixels, with random intensity and noise.

# %%
DIGITS = """
.###. #...# #..## #.#.# ##..# #...# .###.
..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.
.###. #...# ....# ..##. .#... #.... #####
.###. #...# ....# ..##. ....# #...# .###.
...#. ..##. .#.#. #..#. ##### ...#. ...#.
##### #.... ####. ....# ....# #...# .###.
.###. #.... #.... ####. #...# #...# .###.
##### ....# ...#. ..#.. .#... .#... .#...
.###. #...# #...# .###. #...# #...# .###.
.###. #...# #...# .#### ....# ....# .###.
"""
FONT = np.array(
    [[[dot == "#" for dot in row] for row in digit.split()] for digit in DIGITS.strip().splitlines()]
)
SIDE = 12


def draw(count, seed):
    """Images (N, 1, 12, 12) and their digits (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.normal(0, 0.15, (count, 1, SIDE, SIDE)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, SIDE - 7 + 1), rng.integers(0, SIDE - 5 + 1)
        image[0, top : top + 7, left : left + 5] += FONT[label] * rng.uniform(0.5, 1.2, (7, 5))
    return tt.tensor(images), tt.tensor(labels)


train_images, train_labels = draw(2000, seed=1)
test_images, test_labels = draw(1000, seed=2)

picture, panels = figure(2, 5, size=(7, 3.4))
for panel, image, label in zip(panels.flat, train_images.numpy(), train_labels.tolist(), strict=False):
    panel.imshow(image[0], cmap="gray_r")
    panel.set_title(f"a {label}")
    panel.set_axis_off()
show(picture, "Ten training images of 12 by 12 points, with the digits that they show.")

assert FONT.shape == (10, 7, 5)
assert train_images.shape == (2000, 1, 12, 12)

# %% [markdown]
# Two networks. The first is [dense](glossary.md#dense-layer): each neuron reads all pixels. It has to learn
# each digit separately at each position. The second is [convolutional](glossary.md#convolution): its
# neurons read 3 by 3 pixels, and the same neuron slides over the whole image, so that a stroke is detected
# everywhere; then max pooling takes the largest value of each 2 by 2 positions.

# %%
dense = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 10))
convolutional = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding="same"),
    nn.ReLU(),
    nn.MaxPool2d(2),  # (B, 8, 6, 6)
    nn.Conv2d(8, 16, 3, padding="same"),
    nn.ReLU(),
    nn.MaxPool2d(2),  # (B, 16, 3, 3)
    nn.Flatten(),
    nn.Linear(16 * 3 * 3, 10),
)


def accuracy(network, images, labels):
    """Accuracy: the share of images classified correctly."""
    with tt.no_grad():
        return float((network(images).argmax(axis=1) == labels).astype(tt.float32).mean())


def learn(network, steps):
    """Test accuracy before and after training."""
    rng = np.random.default_rng(0)
    optimizer = tt.optim.Adam(network.parameters(), lr=0.01)
    before = accuracy(network, test_images, test_labels)
    for _ in range(steps):
        chosen = tt.tensor(rng.integers(0, len(train_labels), 64))
        loss = tt.cross_entropy(network(train_images[chosen]), train_labels[chosen])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return before, accuracy(network, test_images, test_labels)


results = {}
for name, network in (("dense", dense), ("convolutional", convolutional)):
    before, results[name] = learn(network, pick(800, 300))
    size = f"{network.num_parameters():,} weights"
    print(f"{name:<14} {size:>13}: {before:.0%} → {results[name]:.1%} of new images read rightly")
    assert before < 0.3  # guessing is right once in ten

assert results["dense"] > 0.6
assert results["convolutional"] > pick(0.85, 0.75)
assert results["convolutional"] > results["dense"]
assert convolutional.num_parameters() < dense.num_parameters() / 2

# %% [markdown]
# The convolutional network is more accurate with far fewer weights: translation invariance is built in and
# need not be learned.
#
# ## The neurons of a GPT
#
# Where in a GPT are neurons, in the sense of this lesson? Only in the [feed-forward
# part](glossary.md#feed-forward) of each block: FFN(x) = GELU(x W₁ + b₁) W₂ + b₂. GPT-2 has 12 blocks with
# 3,072 of them.

# %%
gpt = GPT(GPTConfig(vocab_size=50, block_size=8, n_layer=2, n_head=2, n_embd=16))
mlp = gpt.h[0].mlp
x = tt.randn(1, 8, 16)
by_hand = tt.gelu(x @ mlp.c_fc.weight + mlp.c_fc.bias, "tanh") @ mlp.c_proj.weight + mlp.c_proj.bias

assert tt.allclose(mlp(x), by_hand, atol=1e-6)
assert mlp.c_fc.weight.shape == (16, 4 * 16)  # four times as many neurons as channels

gpt2 = preset("gpt2")[0]
neurons = gpt2.n_layer * gpt2.inner_size
print(f"GPT-2: {gpt2.n_layer} blocks with {gpt2.inner_size:,} neurons: {neurons:,}")

assert neurons == 12 * 3072 == 36_864

# %% [markdown]
# All other matrices have no activation after them: queries, keys and values of the attention, its output,
# and the last step to the logits are plain products. (Attention is nonlinear by its softmax, norms by
# dividing; neither is a neuron.) A plain product is linear: it maps a sum to the sum of the results; the
# feed-forward part does not. And two plain products in a row are one: without an activation between them,
# depth would add nothing.

# %%
a, b = tt.randn(1, 8, 16), tt.randn(1, 8, 16)
attention_output, head = gpt.h[0].attn.c_proj.weight, gpt.wte.weight.T

for matrix in (attention_output, head):
    assert tt.allclose((a + b) @ matrix, a @ matrix + b @ matrix, atol=1e-5)
assert not tt.allclose(mlp(a * 50 + b * 50), mlp(a * 50) + mlp(b * 50), atol=1e-2)

W1, W2 = tt.randn(16, 64), tt.randn(64, 16)
assert tt.allclose((a @ W1) @ W2, a @ (W1 @ W2), atol=1e-3)

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** A neuron has the weights (2, −1), the bias 1 and the activation ReLU. What is its output
# for the input (1, 4)?

# %%
answer = None
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Find weights and bias of a perceptron that computes NAND: 0 if both inputs are 1, else 1.
# Answer with three numbers `(weight1, weight2, bias)`.

# %%
answer = None
exercises.check(2, answer)

# %% [markdown]
# **Exercise 3.** Write GELU for a single number: z times the share of normally distributed numbers below z,
# which is (1 + erf(z / √2)) / 2.


# %%
def gelu(z):
    """z · Φ(z)."""
    ...


exercises.check(3, gelu)
