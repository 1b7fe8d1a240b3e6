# %% [markdown]
# # 12. Gradient descent
#
# **Goal.** See how a model learns: measure the error, find its [gradient](glossary.md#gradient), move each
# weight a little against it, repeat. Derive a gradient by hand and compare it with the engine's. At the end
# a model writes the whole story by itself.

# %%
import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt
from gpt import CharTokenizer
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT

exercises = Exercises("12_gradient_descent")

# %% [markdown]
# ## One weight
#
# Let the error be `(w − 3)²`: smallest at `w = 3`. Its slope at `w` is `2 (w − 3)`. Where the slope is
# positive, a smaller `w` is better, so the step goes against it:
#
# `w ← w − learning rate × gradient`
#
# The [learning rate](glossary.md#learning-rate) sets the step size. Too low, and training takes too long.
# Too high, and each step overshoots the minimum and ends higher than before.


# %%
def descend(lr, steps=25, start=0.0):
    """The weights after each step."""
    w = tt.tensor(start, requires_grad=True)
    optimizer = tt.optim.SGD([w], lr=lr)
    way = [w.item()]
    for _ in range(steps):
        optimizer.zero_grad()
        error = (w - 3.0) ** 2
        error.backward()
        optimizer.step()  # w ← w − lr · w.grad
        way.append(w.item())
    return np.array(way)


rates = {"too low": 0.005, "just right": 0.2, "jumps to and fro": 0.97, "too high": 1.05}
ways = {name: descend(lr) for name, lr in rates.items()}
picture, axes = figure()
for name, way in ways.items():
    axes.plot(way, marker=".", label=f"{name} ({rates[name]})")
axes.axhline(3.0, color="gray", linestyle=":")
axes.set(title="Four learning rates", xlabel="step", ylabel="weight (the best is 3)", ylim=(-16, 18))
axes.legend(loc="lower left")
show(picture, "One weight, 25 steps. The same rule creeps, arrives, jumps around the goal, or runs away.")
print({name: float(way[-1].round(3)) for name, way in ways.items()})

assert abs(ways["just right"][-1] - 3) < 1e-4
assert abs(ways["too low"][-1] - 3) > 2
assert (
    (ways["jumps to and fro"] - 3)[:-1] * (ways["jumps to and fro"] - 3)[1:] < 0
).all()  # alternates between the sides
assert abs(ways["too high"][-1] - 3) > abs(ways["too high"][0] - 3)
for name, lr in rates.items():  # each step multiplies the distance to 3 by 1 − 2 lr: so this is exact
    assert np.allclose(ways[name] - 3, -3 * (1 - 2 * lr) ** np.arange(26), rtol=1e-3, atol=1e-5)

# %% [markdown]
# ## The error of a language model
#
# The model gives each token a probability, and that of the right one should be 1. The error is
# [cross-entropy](glossary.md#cross-entropy): `−ln p` of the right token. A confident right prediction has a
# loss near 0, a confident wrong one a large loss. An untrained model predicts uniformly over `V` tokens,
# with loss `ln V`.

# %%
logits = tt.tensor([2.0, 0.5, -1.0, 0.0], requires_grad=True)
right_one = 1
loss = tt.cross_entropy(logits, tt.tensor(right_one))
loss.backward()
p = tt.softmax(logits.detach())
print("p", p.numpy().round(3), "loss", round(loss.item(), 3), "gradient", logits.grad.numpy().round(3))

assert abs(loss.item() + np.log(p[right_one].item())) < 1e-6
assert (
    abs(tt.cross_entropy(tt.zeros(1, 50_257), tt.tensor([7])).item() - np.log(50_257)) < 1e-4
)  # 10.8 for GPT-2
wanted = np.eye(4)[right_one]
assert np.allclose(logits.grad.numpy(), p.numpy() - wanted, atol=1e-6)

# %% [markdown]
# The last line is important: the gradient of the logits is the predicted distribution minus the one-hot
# target. Each wrong token is pushed down by its probability, the right one is pushed up by one minus its
# probability.
#
# ## Backpropagation by hand
#
# A small network: `h = tanh(x W₁)`, logits `z = h W₂`, loss. To get the gradient of `W₁`, go backwards and
# multiply by one slope after the other. This is [backpropagation](glossary.md#backpropagation).

# %%
generator = tt.Generator(0)
x = tt.randn(5, 3, generator=generator)
W1 = tt.randn(3, 4, generator=generator).requires_grad_()
W2 = tt.randn(4, 6, generator=generator).requires_grad_()
targets = tt.tensor([0, 3, 5, 1, 1])
tt.cross_entropy(tt.tanh(x @ W1) @ W2, targets).backward()  # the engine

X, A, B = x.numpy().astype(float), W1.detach().numpy().astype(float), W2.detach().numpy().astype(float)
h = np.tanh(X @ A)  # forward, and save h
z = h @ B
P = np.exp(z) / np.exp(z).sum(1, keepdims=True)
dz = (P - np.eye(6)[targets.numpy()]) / 5  # p − wanted, and the mean over 5 rows
dB = h.T @ dz
dh = dz @ B.T
dA = X.T @ (dh * (1 - h * h))  # the slope of tanh is 1 − tanh²
print("largest differences:", abs(dA - W1.grad.numpy()).max(), abs(dB - W2.grad.numpy()).max())

assert np.allclose(W1.grad.numpy(), dA, atol=1e-5)
assert np.allclose(W2.grad.numpy(), dB, atol=1e-5)

# %% [markdown]
# An independent check by finite differences: change one weight a little, and measure the change of the
# loss.


# %%
def loss_at(A):
    """The loss with other weights in the first matrix."""
    z = np.tanh(X @ A) @ B
    return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(5), targets.numpy()]))


step = 1e-5
measured = np.zeros_like(A)
for place in np.ndindex(A.shape):
    moved = np.zeros_like(A)
    moved[place] = step
    measured[place] = (loss_at(A + moved) - loss_at(A - moved)) / (2 * step)

assert np.allclose(measured, dA, atol=1e-8)

# %% [markdown]
# ## A model learns the story
#
# The same three steps, with thousands of weights. First with three learning rates. (AdamW is gradient
# descent in which each weight's step is scaled by the typical size of its gradient; so its rates differ
# from those above.)

# %%
tokenizer = CharTokenizer.train(STORY)
ids = tt.tensor([tokenizer.encode(STORY)])
x, y = ids[:, :-1], ids[:, 1:]
config = GPTConfig(tokenizer.vocab_size, block_size=160, n_layer=2, n_head=2, n_embd=48)


def learn(lr, steps, seed=1):
    """A model trained with this learning rate, and its losses."""
    model = GPT(config, tt.Generator(seed))
    optimizer = tt.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(x, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


steps = pick(200, 120)
curves, models = {}, {}
for name, lr in (("too low", 1e-5), ("just right", 3e-3), ("too high", 1.0)):
    models[name], curves[name] = learn(lr, steps)
    print(f"{name:<10} ({lr:g}): loss {curves[name][0]:.2f} → {curves[name][-1]:.2f}")

picture, axes = figure()
for name, losses in curves.items():
    axes.semilogy(losses, label=name)
axes.set(title="Learning the story", xlabel="step", ylabel="loss (nats, logarithmic)")
axes.legend()
show(picture, "The same model with three learning rates. One creeps, one learns, one jumps about.")

assert abs(curves["just right"][0] - np.log(22)) < 0.3  # at first: uniform over 22 characters
assert curves["just right"][-1] < 0.1
assert curves["too low"][-1] > 0.8 * curves["too low"][0]
assert min(curves["too high"][20:]) > 2.7  # no better than the frequencies of the characters

# %% [markdown]
# A loss of 0.1 means: the right character gets `exp(−0.1)`, nine tenths of the probability, on average. So
# if we always take the likeliest one, the model writes the story from its first letter to its last.

# %%
model = models["just right"]
told = "T" + tokenizer.decode(list(generate(model, tokenizer.encode("T"), len(STORY) - 1, temperature=0)))
print(told)

assert told == STORY

# %% [markdown]
# It has memorized this story, and nothing else. To learn language rather than one text takes far more text
# than weights. But the steps are the same: forward, backward, and a step against the gradient.
#
# ## Exercises
#
# **Exercise 1.** With the error `(w − 3)²`, each step multiplies the distance to 3 by `1 − 2 lr`. From
# which learning rate on does the weight no longer converge?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Write the gradient of the loss `mean((x w − y)²)` for `w`, by hand: `x` is `(N, C)`, `w`
# is `(C,)`, `y` is `(N,)`, NumPy arrays.


# %%
def slope(x, w, y):
    """The gradient, (C,)."""
    ...


exercises.check(2, slope)

# %% [markdown]
# **Exercise 3.** With momentum a step follows a running sum of gradients: `b ← momentum · b + gradient`, then
# `w ← w − lr · b`, where `b` begins as 0. Write `steps` of it for the error `(w − 3)²`, from `w = 0`.


# %%
def with_momentum(lr, momentum, steps):
    """The weight after so many steps."""
    ...


exercises.check(3, with_momentum)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
