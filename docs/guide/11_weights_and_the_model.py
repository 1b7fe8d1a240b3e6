# %% [markdown]
# # 11. Weights and the model
#
# **Goal.** Learn what a model *is*: a fixed [architecture](glossary.md#architecture), and many
# [weights](glossary.md#weight). Count the weights of GPT-2 and GPT-3, find the matrices of queries, keys
# and values in memory, and read a model's file byte by byte.

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt
from gpt import CharTokenizer, load, save_single
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_shapes
from gpt.presets import preset
from gpt.weights.info import inventory
from gpt.weights.weight_tensor import tensors_of
from tinytensor.interop.safetensors_file import read_safetensors

exercises = Exercises("11_weights_and_the_model")

# %% [markdown]
# ## Two views of the same thing
#
# As a graph, a layer is neurons and connections, and each connection has a strength. As numbers, it is a
# matrix: the entry `W[i, j]` is the strength of the connection from input `i` to output `j`. Neuron `j`
# adds up its inputs, each times its strength, plus its bias. The matrix product does this for all neurons
# at once.

# %%
W = tt.tensor([[0.9, -0.6], [0.2, 0.8], [-0.7, 0.4]])  # 3 inputs, 2 neurons
b = tt.tensor([0.1, -0.2])
x = tt.tensor([1.0, 2.0, -1.0])
as_matrix = x @ W + b
as_graph = []
for j in range(2):
    total = b[j].item()
    for i in range(3):
        total += x[i].item() * W[i, j].item()  # along each connection into neuron j
    as_graph.append(total)

picture, (left, right) = figure(1, 2, size=(8, 3.2))
for i in range(3):
    for j in range(2):
        w = W[i, j].item()
        left.plot(
            [0, 1], [2 - i, 1.5 - j], color="tab:blue" if w > 0 else "tab:red", linewidth=5 * abs(w), zorder=1
        )
left.scatter([0] * 3 + [1] * 2, [2, 1, 0, 1.5, 0.5], s=400, color="white", edgecolor="black", zorder=2)
left.set(title="as a graph", xlim=(-0.3, 1.3), ylim=(-0.5, 2.5))
left.axis("off")
right.imshow(W.numpy(), cmap="bwr_r", vmin=-2, vmax=2)
for i in range(3):
    for j in range(2):
        right.text(j, i, f"{W[i, j].item():.1f}", ha="center", va="center")
right.set(title="as a matrix", xlabel="neuron", ylabel="input", xticks=range(2), yticks=range(3))
show(
    picture, "One layer twice. A line is a number: blue is positive, red negative, and its width is its size."
)
print("as a graph", np.round(as_graph, 3), "as a matrix", as_matrix.numpy().round(3))

assert np.allclose(as_graph, as_matrix.numpy())

# %% [markdown]
# ## Inventory of GPT-2
#
# These are the tensors of the smallest GPT-2: its two tables, one block of twelve, and the last norm. They
# are listed without allocating them.

# %%
gpt2 = preset("gpt2")[0]
shapes = parameter_shapes(gpt2)
for name, shape in shapes.items():
    if not name.startswith("h.") or name.startswith("h.0."):
        print(f"{name:<24} {shape!s:<14} {int(np.prod(shape)):>12,}")

assert shapes["wte.weight"] == (50_257, 768)  # the token table
assert shapes["wpe.weight"] == (1024, 768)  # the positions
assert shapes["h.0.attn.c_attn.weight"] == (768, 3 * 768)  # W_q, W_k and W_v side by side
assert shapes["h.0.attn.c_proj.weight"] == (768, 768)
assert shapes["h.0.mlp.c_fc.weight"] == (768, 3072)
assert shapes["h.0.mlp.c_proj.weight"] == (3072, 768)
assert shapes["h.0.ln_1.weight"] == shapes["h.0.ln_1.bias"] == (768,)  # scale and shift of a norm

# %% [markdown]
# The same list, added up, for larger models. A float32 number has 4 bytes.

# %%
count = {}
for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "gpt3"):
    config = preset(name)[0]
    count[name] = sum([int(np.prod(shape)) for shape in parameter_shapes(config).values()])
    size = f"{count[name] * 4 / 1e6:,.0f} MB"
    print(f"{name:<12} {config.n_layer} blocks, {config.n_embd:,} channels: {count[name]:,} weights, {size}")

V, C = 50_257, 768
by_hand = V * C + 1024 * C + 12 * (12 * C * C + 13 * C) + 2 * C

assert count["gpt2"] == by_hand == 124_439_808  # "124M"
assert abs(count["gpt2"] * 4 / 1e6 - 500) < 5  # about 500 MB
assert round(count["gpt2-medium"] / 1e6) == 355
assert round(count["gpt2-large"] / 1e6) == 774
assert round(count["gpt2-xl"] / 1e9, 1) == 1.6  # its authors say 1.5 billion
assert round(count["gpt3"] / 1e9) == 175

# %% [markdown]
# ## W_q, W_k and W_v are views
#
# GPT-2 keeps its three attention matrices side by side in one tensor of shape `(C, 3 C)`. Each of the three
# is a view: its rows are `3 C` elements apart, and its offset in the buffer is 0, `C` or `2 C` elements. A
# head is a narrower view.

# %%
C, n_head = 48, 4
config = GPTConfig(vocab_size=22, block_size=160, n_layer=2, n_head=n_head, n_embd=C)
model = GPT(config, tt.Generator(1))
packed = model.h[0].attn.c_attn.weight
W_q, W_k, W_v = packed.detach().chunk(3, axis=-1)
last_head = W_q[:, -C // n_head :]
for name, view in (
    ("c_attn", packed),
    ("W_q", W_q),
    ("W_k", W_k),
    ("W_v", W_v),
    ("W_q, last head", last_head),
):
    print(f"{name:<16} shape {view.shape!s:<10} strides {view.strides!s:<9} offset {view.offset}")

assert [view.offset for view in (W_q, W_k, W_v)] == [0, C, 2 * C]
assert all([view.strides == (3 * C, 1) and view.shape == (C, C) for view in (W_q, W_k, W_v)])
assert all([view.shares_memory(packed) for view in (W_q, W_k, W_v, last_head)])
assert last_head.shape == (C, C // n_head)

# %% [markdown]
# ## The file stores a flat buffer
#
# Save the model, and read the file with only `open`. A safetensors file begins with 8 bytes: the length of
# a header. The header is JSON with the shape and the byte range of each tensor. The data follows: one flat
# buffer, as in memory.

# %%
folder = Path(tempfile.mkdtemp())
save_single(model, folder / "model.safetensors")
data = (folder / "model.safetensors").read_bytes()
length = int.from_bytes(data[:8], "little")
header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
entry = header["h.0.attn.c_attn.weight"]
begin, end = entry["data_offsets"]
from_file = np.frombuffer(numbers[begin:end], np.float32).reshape(entry["shape"])
print(f"{len(data):,} bytes: 8, a header of {length:,}, and {len(numbers):,} of numbers")
print(entry)
print(inventory(tensors_of(read_safetensors(folder / "model.safetensors"))))

assert len(numbers) == 4 * model.num_parameters()
assert entry["dtype"] == "F32"
assert (from_file == packed.detach().numpy()).all()
assert json.loads(header["__metadata__"]["gpt_config"])["n_layer"] == 2  # the architecture: a few settings

# %% [markdown]
# The loaded model is bitwise equal. And half as many bytes per number halve the file.

# %%
ids = tt.tensor([[1, 2, 3, 4]])
again, _ = load(folder / "model.safetensors")
save_single(model, folder / "half.safetensors", dtype="bfloat16")
half = (folder / "half.safetensors").stat().st_size
print(f"float32: {len(data):,} bytes, bfloat16: {half:,} bytes")

assert again(ids).tolist() == model.eval()(ids).tolist()
assert half - length < 0.51 * (len(data) - length)

# %% [markdown]
# ## Training changes weights, never the architecture
#
# Now train the model on the story. Every weight may change; no shape does, and no tensor is added or
# removed. And the text is not copied into the file: it has weights that make the text likely.

# %%
tokenizer = CharTokenizer.train(STORY)
story = tt.tensor([tokenizer.encode(STORY)])
before = {name: p.detach().clone() for name, p in model.named_parameters()}


def told(model, prompt="The cat", length=40):
    """Greedy continuation: the likeliest character each time."""
    return prompt + tokenizer.decode(
        list(generate(model.eval(), tokenizer.encode(prompt), length, temperature=0))
    )


untrained = told(model)
optimizer = tt.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
model.train()
for _ in range(pick(200, 120)):
    optimizer.zero_grad()
    loss = model.loss(story[:, :-1], story[:, 1:])
    loss.backward()
    optimizer.step()
trained = told(model)
save_single(model, folder / "trained.safetensors")
data_after = (folder / "trained.safetensors").read_bytes()
print(f"before: {untrained!r}\nafter:  {trained!r}, loss {loss.item():.3f}")

after = dict(model.named_parameters())
assert {name: p.shape for name, p in before.items()} == {name: p.shape for name, p in after.items()}
assert all([(before[name] != p).any() for name, p in after.items()])
assert len(data_after) == len(data)  # a trained model is no larger than an untrained one
assert STORY.startswith(trained)
assert not STORY.startswith(untrained)
assert b"cat sat" not in data_after

# %% [markdown]
# So a model can be taken apart and put together again: the code of the architecture here, the weights
# there. A model that was never trained on the story writes it as soon as it gets the weights.

# %%
stranger = GPT(config, tt.Generator(99))
stranger_before = told(stranger)
stranger.load_state_dict(model.state_dict())

assert stranger_before != trained
assert told(stranger) == trained

# %% [markdown]
# `python -m gpt info model.safetensors` prints such an inventory for any model's file.
#
# ## Exercises
#
# **Exercise 1.** Llama 2 with 7 billion weights is stored in 16-bit numbers. How many GB (10⁹ bytes) is its
# file, about?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Count the weights of a GPT-2 shape: `V` tokens, `T` positions, `L` blocks, `C` channels. A
# block has the matrices `(C, 3C)`, `(C, C)`, `(C, 4C)`, `(4C, C)`, each with a bias as long as its rows,
# and two norms of `2C` weights. A last norm follows. The output uses the token table.


# %%
def weights_of(V, T, L, C):
    """The number of weights."""
    ...


exercises.check(2, weights_of)

# %% [markdown]
# **Exercise 3.** Take the query matrix of one head out of a packed tensor `(C, 3C)`, as a view, without
# copying.


# %%
def query_matrix(packed, n_head, head):
    """W_q of a head, (C, C / n_head)."""
    ...


exercises.check(3, query_matrix)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
