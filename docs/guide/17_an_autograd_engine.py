# %% [markdown]
# # 17. An autograd engine in 150 lines
#
# **Goal.** Write the engine behind `loss.backward()`: it computes gradients automatically. It runs on NumPy
# alone, fits on a few pages, and trains a small transformer. At each step we compare it with tinytensor.
#
# The idea is in lesson 12: go backwards through the calculation, and multiply by one slope after the other.
# During the forward pass, an engine records the inputs of each result. This record is the
# [graph](glossary.md#graph). The backward pass traverses it from the end.

# %%
import inspect
import re
from math import sqrt

import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt

exercises = Exercises("17_an_autograd_engine")

# %% [markdown]
# ## Values and edges
#
# A `Value` has an array. If it is a result, it also has its **edges**: for each operand, the operand and a
# function. The function maps the gradient of the result to the gradient of that operand. For `a * b` it is:
# the gradient times the other factor.
#
# `backward` visits each value after all values computed from it, so that its gradient is complete by then,
# and passes the gradient on along the edges. Several gradients of one value are added.


# %%
class Value:
    """An array with the edges to its operands."""

    def __init__(self, data, edges=()):
        self.data = np.asarray(data, dtype=float)
        self.edges = edges  # (operand, function from the result's gradient to the operand's)
        self.grad = None

    def backward(self):
        """Set the gradient of all values that this scalar was computed from."""
        gradients = {id(self): np.ones_like(self.data)}
        for value in reversed(in_order(self)):
            value.grad = gradients[id(value)]
            for operand, slope in value.edges:
                part = summed_to(slope(value.grad), operand.data.shape)
                gradients[id(operand)] = gradients.get(id(operand), 0.0) + part

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, [(self, lambda g: g), (other, lambda g: g)])

    def __mul__(self, other):
        other = as_value(other)
        edges = [(self, lambda g: g * other.data), (other, lambda g: g * self.data)]
        return Value(self.data * other.data, edges)

    def __pow__(self, number):
        return Value(self.data**number, [(self, lambda g: g * number * self.data ** (number - 1))])

    def __matmul__(self, other):
        edges = [(self, lambda g: g @ other.data.mT), (other, lambda g: self.data.mT @ g)]
        return Value(self.data @ other.data, edges)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -as_value(other)

    def __truediv__(self, other):
        return self * as_value(other) ** -1.0

    __radd__, __rmul__ = __add__, __mul__

    def exp(self):
        y = np.exp(self.data)
        return Value(y, [(self, lambda g: g * y)])

    def log(self):
        return Value(np.log(self.data), [(self, lambda g: g / self.data)])

    def tanh(self):
        y = np.tanh(self.data)
        return Value(y, [(self, lambda g: g * (1 - y * y))])

    def relu(self):
        return Value(np.maximum(self.data, 0.0), [(self, lambda g: g * (self.data > 0))])

    def sum(self, axis=None, keepdims=False):
        def slope(g):
            if axis is not None and not keepdims:
                g = np.expand_dims(g, axis)
            return np.broadcast_to(g, self.data.shape)

        return Value(self.data.sum(axis, keepdims=keepdims), [(self, slope)])

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def reshape(self, *shape):
        return Value(self.data.reshape(shape), [(self, lambda g: g.reshape(self.data.shape))])

    def transpose(self, a, b):
        return Value(np.swapaxes(self.data, a, b), [(self, lambda g: np.swapaxes(g, a, b))])

    def __getitem__(self, key):
        def slope(g):
            whole = np.zeros_like(self.data)
            np.add.at(whole, key, g)  # a row that was read twice gets the sum of both gradients
            return whole

        return Value(self.data[key], [(self, slope)])


def as_value(x):
    """Numbers and arrays as values without history."""
    return x if isinstance(x, Value) else Value(x)


def summed_to(g, shape):
    """The gradient of an operand that was broadcast: summed over its copies."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    repeated = tuple([axis for axis, size in enumerate(shape) if size == 1 and g.shape[axis] != 1])
    return g.sum(axis=repeated, keepdims=True) if repeated else g


def in_order(last):
    """All values that one depends on, each after its operands."""
    found, seen, todo = [], set(), [(last, False)]
    while todo:
        value, operands_done = todo.pop()
        if operands_done:
            found.append(value)
        elif id(value) not in seen:
            seen.add(id(value))
            todo.append((value, True))
            todo += [(operand, False) for operand, _ in value.edges]
    return found


# %% [markdown]
# That is all. How long is it?

# %%
methods = [method for method in vars(Value).values() if inspect.isfunction(method)]
functions = {function.__name__: function for function in (*methods, as_value, summed_to, in_order)}
lines = sum([len(inspect.getsource(function).splitlines()) for function in functions.values()])
print(f"{len(functions)} functions, {lines} lines")

assert lines < 150

# %% [markdown]
# ## One step at a time
#
# `y = x · x + x` at `x = 3`: the slope is `2 · 3 + 1 = 7`. Three paths lead from `y` back to `x`, and their
# contributions add up.

# %%
x = Value(3.0)
y = x * x + x
y.backward()
print("y", y.data, "slope", x.grad, "values in order:", [float(v.data) for v in in_order(y)])

assert (y.data, x.grad) == (12.0, 7.0)
assert [float(v.data) for v in in_order(y)] == [3.0, 9.0, 12.0]

# %% [markdown]
# ## Compared with tinytensor
#
# Our methods have the names of tinytensor's. So one formula runs on both engines, and we can compare
# gradients: for each method, on random values, with operands that are broadcast.

# %%
rng = np.random.default_rng(0)
formulas = {
    "add, repeated": lambda a, b: (a + b[0]) * a,
    "multiply, repeated": lambda a, b: a * b[:, :1] * b,
    "subtract, divide": lambda a, b: (a - b) / (b * b + 1.0),
    "power": lambda a, b: (a * a + 1.0) ** -1.5 * b**3.0,
    "matrix product": lambda a, b: a @ b.transpose(0, 1) @ a,
    "exp, log": lambda a, b: (a.exp() + b.exp()).log(),
    "tanh, relu": lambda a, b: a.tanh() * b.relu(),
    "sum": lambda a, b: a.sum(1, keepdims=True) * b + a.sum(0) + b.sum(),
    "mean": lambda a, b: a.mean(0, keepdims=True) * b * a.mean(),
    "reshape": lambda a, b: a.reshape(4, 3) @ b,
    "rows, some twice": lambda a, b: a[[0, 2, 2]] * b,
}
for name, formula in formulas.items():
    arrays = [rng.normal(size=(3, 4)) for _ in range(2)]
    ours = [Value(array) for array in arrays]
    theirs = [tt.asarray(array.copy()).requires_grad_() for array in arrays]
    results = formula(*ours), formula(*theirs)
    weights = rng.normal(size=results[0].data.shape)
    (results[0] * weights).sum().backward()
    (results[1] * tt.asarray(weights)).sum().backward()
    difference = max([np.abs(a.grad - b.grad.numpy()).max() for a, b in zip(ours, theirs, strict=True)])
    print(f"{name:<20} largest difference {difference:.0e}")
    assert np.allclose(results[0].data, results[1].detach().numpy(), atol=1e-12)
    assert difference < 1e-10

# %% [markdown]
# ## A transformer on it
#
# Token and position embeddings, causal attention, a feed-forward part, residual sums, cross-entropy: all
# made of the methods above. The same function runs on tinytensor, if it gets tinytensor's tensors.

# %%
words = re.findall(r"\w+|\.", STORY)
vocabulary = sorted(set(words))
ids = [vocabulary.index(word) for word in words]
inputs, targets = ids[:-1], ids[1:]
T, V, C = len(inputs), len(vocabulary), 24
CONSTANTS = {
    "hide": np.triu(np.full((T, T), -1e9), 1),  # the causal mask, added to the scores
    "chosen": np.eye(V)[targets],  # one-hot targets
}


def weights_at_start(seed):
    """The arrays of the model, by name."""
    rng = np.random.default_rng(seed)
    shapes = {
        "tokens": (V, C),
        "positions": (T, C),
        "query": (C, C),
        "key": (C, C),
        "value": (C, C),
        "up": (C, 4 * C),
        "down": (4 * C, C),
        "out": (C, V),
    }
    return {name: rng.normal(size=shape) / sqrt(C) for name, shape in shapes.items()}


def softmax(x):
    e = x.exp()
    return e / e.sum(-1, keepdims=True)


def logits_of(w):
    """Logits (T, V) after each word of the story."""
    x = w["tokens"][inputs] + w["positions"]
    scores = (x @ w["query"]) @ (x @ w["key"]).transpose(0, 1) * (1 / sqrt(C))
    x = x + softmax(scores + w["hide"]) @ (x @ w["value"])
    x = x + (x @ w["up"]).tanh() @ w["down"]
    return x @ w["out"]


def loss_of(w):
    """Mean cross-entropy."""
    return -(softmax(logits_of(w)).log() * w["chosen"]).sum() * (1 / T)


# %% [markdown]
# Train it by plain gradient descent: on our engine, and on tinytensor from the same weights. If all
# gradients are right, the losses are equal, step by step.


# %%
def train(make, steps, lr=0.1, seed=0):
    """Weights after training, and the losses; `make` turns an array into a value of an engine."""
    arrays, losses = weights_at_start(seed), []
    for _ in range(steps):
        w = {name: make(array) for name, array in (arrays | CONSTANTS).items()}
        loss = loss_of(w)
        loss.backward()
        losses.append(float(loss.data) if isinstance(loss, Value) else loss.item())
        for name, array in arrays.items():
            array -= lr * np.asarray(w[name].grad)
    return arrays, losses


steps = pick(400, 250)
arrays, ours = train(Value, steps)
_, theirs = train(lambda array: tt.asarray(array.copy()).requires_grad_(), steps)

picture, axes = figure()
axes.plot(ours, label="ours", linewidth=4, alpha=0.4)
axes.plot(theirs, label="tinytensor", linewidth=1, color="black")
axes.set(title="The same model on two engines", xlabel="step", ylabel="loss (nats)")
axes.legend()
show(picture, "Losses while the story is learned. The two curves lie on each other.")
print(
    f"loss {ours[0]:.3f} → {ours[-1]:.4f}; largest difference {np.abs(np.subtract(ours, theirs)).max():.0e}"
)

assert np.allclose(ours, theirs, rtol=1e-6)
assert ours[-1] < 0.1

# %%
told = logits_of({name: Value(array) for name, array in (arrays | CONSTANTS).items()}).data.argmax(1)
print(words[0], *[vocabulary[i] for i in told])

assert told.tolist() == targets  # after each word, the right next one

# %% [markdown]
# What does tinytensor have that this engine lacks? Views instead of copies, reuse of the memory of results
# that are no longer needed, gradients of gradients, GPU kernels, and an error instead of a wrong gradient
# when a saved tensor was changed. `tinytensor/autograd/backward.py` has its `in_order` and `backward`.
#
# ## Exercises
#
# **Exercise 1.** `y = (a + b) · a`, with `a = 2` and `b = 5`. What is the slope of `y` in `a`?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** The engine lacks the sigmoid, `s(x) = 1 / (1 + e⁻ˣ)`. Write the function for its edge:
# given the gradient `g` of the result, and the result `y` itself, return the gradient of `x`.


# %%
def sigmoid_slope(g, y):
    """The gradient of x, for y = sigmoid(x)."""
    ...


exercises.check(2, sigmoid_slope)

# %% [markdown]
# **Exercise 3.** A bias `(C,)` was added to each of `N` rows. Write its gradient, given that of the result
# `(N, C)`.


# %%
def bias_gradient(g):
    """The gradient of the bias, (C,)."""
    ...


exercises.check(3, bias_gradient)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
#
# To practise: puzzles 71 to 90, backward passes. `python -m tinytensor puzzle 71`
# shows the first; a judge checks your solution.
