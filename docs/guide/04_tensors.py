# %% [markdown]
# # 4. Tensors
#
# **Goal.** Understand the object that all models are made of: a flat buffer of numbers, and a few integers
# that define how to read it. At the end you can tell which operations copy and which return a view of the
# same memory.
#
# Data, weights, results and gradients: all numbers of a model are in [tensors](glossary.md#tensor). A
# tensor has any number of axes. None: a single number (a scalar). One: a row (a vector). Two: a table (a
# matrix). A batch of blocks after the embedding has three, and attention works with four.

# %%
import numpy as np
from lesson import Exercises, figure, show

import tinytensor as tt
from tinytensor import lab, nn

exercises = Exercises("04_tensors")

examples = {
    "a loss": tt.tensor(3.09),
    "ids of a block": tt.tensor([17, 5, 2, 0]),
    "a weight matrix": tt.zeros(768, 3072),
    "a batch of embedded blocks": tt.zeros(4, 8, 16),
    "queries of all heads": tt.zeros(4, 2, 8, 8),
}
for name, x in examples.items():
    print(f"{name:<28} {x.ndim} axes, shape {x.shape}")

assert [x.ndim for x in examples.values()] == [0, 1, 2, 3, 4]

# %% [markdown]
# ## The object
#
# A tensor of this engine has three parts: a [storage](glossary.md#storage), which is one flat buffer of
# numbers of one dtype on one device; a layout, which is [shape](glossary.md#shape),
# [strides](glossary.md#strides) and offset; and its place in the graph, if gradients are needed. All other
# attributes are computed from these.

# %%
x = tt.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
for name in (
    "shape",
    "strides",
    "offset",
    "ndim",
    "size",
    "dtype",
    "itemsize",
    "nbytes",
    "device",
    "requires_grad",
):
    print(f"{name:<14} {getattr(x, name)}")
print("is_contiguous ", x.is_contiguous())
print("storage       ", x.storage)

assert (x.shape, x.strides, x.offset) == ((2, 3), (3, 1), 0)
assert x.nbytes == x.size * x.itemsize == 6 * 4  # float32: four bytes for a number
assert x.storage.size == 6

# %% [markdown]
# ## Memory is always flat
#
# The table above has two rows on the screen. In memory there is one: 1 2 3 4 5 6. The strides give the
# distance in memory of one step along each axis: 3 to the next row, 1 to the next column. So element (i, j)
# is at
#
#     offset + i · strides[0] + j · strides[1]


# %%
def position(x, *index):
    """The position of an element in the storage."""
    return x.offset + sum(i * stride for i, stride in zip(index, x.strides, strict=True))


def flat(x):
    """The storage as a 1-d array."""
    return np.asarray(x.storage.buffer).reshape(-1).view(np.float32)


for i in range(2):
    print([f"({i}, {j}) at {position(x, i, j)}" for j in range(3)])

assert flat(x).tolist() == [1, 2, 3, 4, 5, 6]
assert all(flat(x)[position(x, i, j)] == x[i, j].item() for i in range(2) for j in range(3))

# %% [markdown]
# ## Views: other shapes, same memory
#
# Transpose the table: rows become columns. No element moves; only the two strides are exchanged. Such a
# tensor is a [view](glossary.md#view). Slices are views, too, also backwards (a negative stride) and
# repeated (a stride of 0).

# %%
views = {
    "x": x,
    "x.T": x.T,
    "x[:, 1:]": x[:, 1:],
    "x[::-1]": x[::-1],
    "x[0] three times": x[0].expand(3, 3),
    "x.reshape(3, 2)": x.reshape(3, 2),
}
for name, view in views.items():
    where = f"shape {view.shape!s:<7} strides {view.strides!s:<8} offset {view.offset}"
    print(f"{name:<17} {where}   {view.tolist()}")

assert all(view.shares_memory(x) for view in views.values())
assert (x.T.shape, x.T.strides) == ((3, 2), (1, 3))
assert x[:, 1:].offset == 1
assert x[::-1].strides == (-3, 1)
assert x[0].expand(3, 3).strides == (0, 1)
assert all(flat(x)[position(x.T, j, i)] == x[i, j].item() for i in range(2) for j in range(3))

# %%
picture, panels = figure(1, 3, size=(8, 2.6))
for panel, name in zip(panels, ("x", "x.T", "x.reshape(3, 2)"), strict=True):
    view = views[name]
    rows, columns = view.shape
    places = np.array([[position(view, i, j) for j in range(columns)] for i in range(rows)])
    panel.imshow(places, cmap="Blues", vmin=-2, vmax=7)
    for i in range(rows):
        for j in range(columns):
            panel.text(j, i, f"{view[i, j].item():.0f}\nat {places[i, j]}", ha="center", va="center")
    panel.set(title=f"{name}\nstrides {view.strides}", xlabel="column j", ylabel="row i")
    panel.set(xticks=range(columns), yticks=range(rows))
show(
    picture,
    "Three ways to read the same six numbers. In each cell: the number, and its place in the flat row. The "
    "color is the place, from light (0) to dark (5). x.T walks down where x walks right; reshape walks in "
    "the order of memory.",
)

# %% [markdown]
# ## When memory has to be copied
#
# A tensor is [contiguous](glossary.md#contiguous) when its elements in row-major order are adjacent in
# memory. `x.T` is not. If it is reshaped, no stride gives the new order: the elements must be copied.

# %%
assert x.is_contiguous()
assert not x.T.is_contiguous()
assert x.reshape(6).shares_memory(x)  # a view
assert not x.T.reshape(6).shares_memory(x)  # a copy
assert x.T.contiguous().strides == (2, 1)  # in its own order, at the price of a copy

# %% [markdown]
# The engine's lab shows this for any expression, call by call: views and copies, the positions of the
# elements in memory, and the number of cache lines they touch. (`lab.explain(x)` does it for an existing
# tensor.)

# %%
explained = lab.explain_expression("arange(6).reshape(2, 3).T.contiguous()")
print(explained)
show(
    lab.explain_expression("arange(6).reshape(2, 3).T").svg(),
    "The transpose of a table of six numbers. Above: the calls, and the elements as rows and columns. Below: "
    "the flat row in memory, in which nothing has moved.",
)

assert [step.made for step in explained.steps] == ["new buffer", "view", "view", "copy"]
assert explained.steps[2].layout.strides == (1, 3)
assert explained.steps[3].layout.strides == (2, 1)

# %% [markdown]
# Because views share memory, a write through one changes all:

# %%
table = tt.zeros(2, 3)
column = table[:, 1]
column.copy_(tt.tensor([7.0, 8.0]))
print(table)

assert table.tolist() == [[0, 7, 0], [0, 8, 0]]

# %% [markdown]
# ## Memory on a GPU
#
# A GPU has no tensors. A program for it, a [kernel](glossary.md#kernel), gets the address of the buffer and
# some integers. It runs in thousands of [threads](glossary.md#thread) at once. Each has an index, from
# which it computes the elements to work on. This engine runs the same kernels on the CPU, on the device
# `emulated`, so you need no GPU (a C++ compiler is enough). Let each thread write its index to its element:
# 3 groups (*blocks* of threads, unrelated to blocks of text) of 4 threads share 10 elements.

# %%
who = tt.cuda.kernel("""
__global__ void who_works_here(float* row, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;   // my number, counted over all groups
    if (i < n) row[i] = 100 * blockIdx.x + threadIdx.x;    // the last group has threads without work
}
""")
row = tt.zeros(10, device="emulated")
who[3, 4](row, 10)
print(row.tolist())

assert row.tolist() == [0, 1, 2, 3, 100, 101, 102, 103, 200, 201]

# %% [markdown]
# And a matrix? The same buffer, with strides as arguments, from which the kernel computes the position of
# column 1 in row 2:

# %%
column_sum = tt.cuda.kernel("""
__global__ void column_sums(float* sums, const float* data, int rows, int columns, int down, int right) {
    const int j = blockIdx.x * blockDim.x + threadIdx.x;   // one thread for each column
    if (j >= columns) return;
    float sum = 0;
    for (int i = 0; i < rows; i++) sum += data[i * down + j * right];
    sums[j] = sum;
}
""")
data = tt.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).to("emulated")
down, right = data.strides
columns, rows = tt.zeros(3, device="emulated"), tt.zeros(2, device="emulated")
column_sum[1, 32](columns, data, 2, 3, down, right)
column_sum[1, 32](rows, data, 3, 2, right, down)  # the transpose: the same memory, strides exchanged
print(columns.tolist(), rows.tolist())

assert columns.tolist() == [5, 7, 9]
assert rows.tolist() == [6, 15]
assert data.device.type == "emulated"
assert data.to("cpu").tolist() == [[1, 2, 3], [4, 5, 6]]

# %% [markdown]
# ## Everything is a tensor
#
# The tensors of one training step: the data, the weights, the [activations](glossary.md#activation) between
# the layers, and the [gradients](glossary.md#gradient), the change of the loss with each weight. All are
# flat buffers, read through shape and strides. A weight and its gradient have the same shape.

# %%
layer = nn.Linear(3, 2)
batch = tt.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
activations = layer(batch)
loss = (activations * activations).mean()
loss.backward()
for name, tensor in {
    "data": batch,
    "weight": layer.weight,
    "activations": activations,
    "loss": loss,
    "gradient": layer.weight.grad,
}.items():
    print(f"{name:<12} shape {tensor.shape!s:<7} strides {tensor.strides!s:<7} {tensor.storage.nbytes} bytes")

assert layer.weight.grad.shape == layer.weight.shape
assert not layer.weight.grad.shares_memory(layer.weight)
assert all(t.storage.size >= t.size for t in (batch, layer.weight, activations, loss, layer.weight.grad))

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Which strides has a contiguous tensor of shape (4, 5, 6)? Answer with a tuple of three
# numbers.

# %%
answer = None
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Write `position_of(index, strides, offset)`: the position in the buffer of the element
# with these indices, for any number of axes.


# %%
def position_of(index, strides, offset):
    """A position in the storage."""
    ...


exercises.check(2, position_of)

# %% [markdown]
# **Exercise 3.** Let `x` have shape (4, 6) and be contiguous. Which of these copy: `"x.T"`, `"x[1:3]"`,
# `"x[:, ::2]"`, `"x.reshape(2, 12)"`, `"x.T.reshape(24)"`, `"x.T.contiguous()"`? Answer with a set of these
# texts.

# %%
answer = None
exercises.check(3, answer)

# %% [markdown]
# To practise: puzzles 51 to 70, about views and broadcasting. `python -m tinytensor puzzle 51`
# shows the first; a judge checks your solution.
