# %% [markdown]
# # 5. Embeddings
#
# **Goal.** See how a token id becomes a vector with a meaning: what the embedding table is, how it learns
# that "father" and "mother" are related, and in which sense one can calculate *king − man + woman*.
#
# A token id is only an index into a list. Token 7 is not "more" than token 6, and nothing like it. So the
# first thing that a model does is to replace each id by a [vector](glossary.md#vector), a row of C numbers
# that it can change while it learns: the [embedding](glossary.md#embedding) of the token.

# %%
import numpy as np
from lesson import STORY, Exercises, figure, pick, show

import tinytensor as tt
from gpt import CharTokenizer, embedded_shakespeare
from gpt.lessons.neighbours import Embeddings, ask_analogies
from gpt.lessons.skipgram import SkipGramConfig, train, words_of
from gpt.presets import preset
from tinytensor import nn

tt.manual_seed(5)
exercises = Exercises("05_embeddings")

# %% [markdown]
# ## A table
#
# One row for each token of the vocabulary. To embed is to look up: take the row at the token id. The same
# token has the same row wherever it occurs.

# %%
tokenizer = CharTokenizer.train(STORY)
V, C = tokenizer.vocab_size, 4
table = nn.Embedding(V, C)
ids = tt.tensor(tokenizer.encode("cat at"))
vectors = table(ids)
print(vectors)

assert vectors.shape == (6, C)
assert all(vectors[t].tolist() == table.weight[ids[t].item()].tolist() for t in range(6))
assert vectors[1].tolist() == vectors[4].tolist()  # both are "a"

# %% [markdown]
# Seen as a calculation: write the token as V zeros with a single 1 at its id (*one-hot*), and multiply by
# the table. The result is the same, so a lookup is a matrix product at a lower cost. In training, only the
# rows that were looked up get a gradient.

# %%
one_hot = tt.one_hot(ids, V, dtype=tt.float32)
assert tt.allclose(one_hot @ table.weight, vectors)

vectors.sum().backward()
used = sorted({int(i) for i in ids.tolist()})
touched = [i for i in range(V) if any(table.weight.grad[i].tolist())]
print("rows with a gradient:", [tokenizer.decode([i]) for i in touched])

assert touched == used

# %% [markdown]
# How long is a row? In small models 128 to 256 numbers, in GPT-2 768, in the largest GPT-3 12,288. More
# channels can distinguish more tokens in more ways; they also cost more everywhere in the model.

# %%
for name in ("shakespeare-char-cpu", "gpt2", "gpt2-xl", "gpt3"):
    config = preset(name)[0]
    print(f"{name:<22} {config.n_embd:>6} numbers a token")

assert [preset(name)[0].n_embd for name in ("shakespeare-char-cpu", "gpt2", "gpt3")] == [128, 768, 12_288]

# %% [markdown]
# ## Near and far
#
# How alike are two vectors? Look at the angle between them. Its cosine is 1 if they point the same way, 0
# at a right angle, −1 if they are opposite: the [cosine similarity](glossary.md#cosine-similarity).


# %%
def cosine(a, b):
    """1: same direction; 0: a right angle; -1: opposed."""
    return float((a * b).sum() / (tt.norm(a) * tt.norm(b)))


a, b = tt.tensor([3.0, 0.0]), tt.tensor([0.0, 2.0])
assert cosine(a, a * 5) == 1.0
assert cosine(a, b) == 0.0
assert cosine(a, -a) == -1.0

# %% [markdown]
# At first the rows are random. In many dimensions, random directions are nearly at right angles: no two
# words are similar. Meaning has to be learned.

# %%
rows = tt.randn(200, 128)
lengths = tt.sqrt((rows * rows).sum(axis=1, keepdims=True))
cosines = ((rows / lengths) @ (rows / lengths).T).numpy()
others = cosines[~np.eye(200, dtype=bool)]
print(f"cosines of random vectors: {others.mean():+.3f} on average, {np.abs(others).max():.2f} at most")

assert abs(others.mean()) < 0.02
assert np.abs(others).max() < 0.5

# %% [markdown]
# ## Learned from context
#
# Words in similar contexts have similar meanings. The method [skip-gram](glossary.md#skip-gram) turns this
# into a task: given a word, predict its neighbours. The vectors of words that have the same neighbours are
# pushed in the same direction. (A GPT's table learns in the same way, as a by-product of predicting the
# next token.)
#
# First an artificial text, where we know what there is to learn: eight persons, each of which is male or
# female, royal or not, old or young, and occurs only with words for these properties.

# %%
GENDER = {"m": ["he", "his", "beard"], "f": ["she", "her", "gown"]}
RANK = {"royal": ["crown", "throne", "palace"], "common": ["field", "cottage", "plough"]}
AGE = {"old": ["grey", "wise", "tall"], "young": ["small", "play", "school"]}
PERSONS = {
    "man": ("m", "common", "old"),
    "woman": ("f", "common", "old"),
    "boy": ("m", "common", "young"),
    "girl": ("f", "common", "young"),
    "king": ("m", "royal", "old"),
    "queen": ("f", "royal", "old"),
    "prince": ("m", "royal", "young"),
    "princess": ("f", "royal", "young"),
}
rng = np.random.default_rng(0)
sentences = []
for _ in range(8_000):
    person = rng.choice(list(PERSONS))
    company = [
        rng.choice(kind[name]) for kind, name in zip((GENDER, RANK, AGE), PERSONS[person], strict=True)
    ]
    before, after, last = rng.permutation(company)
    sentences.append(f"{before} {person} {after} {last}")
print(sentences[:3])


def learn(text, at_least, **options):
    """Vectors of the words of a text."""
    words, numbers = words_of(text, at_least)
    model = train(numbers, len(words), SkipGramConfig(**options))
    return Embeddings(words, model.words.weight.detach().numpy())


made_up = learn(
    " ".join(sentences),
    1,
    size=16,
    window=3,
    epochs=4,
    batch_size=1024,
    learning_rate=0.01,
    subsample=1.0,
)
persons = made_up.only(PERSONS)
for word in ("king", "girl"):
    print(word, "→", [(other, round(similarity, 2)) for other, similarity in persons.nearest(word, 7)])


def shared(a, b):
    """How many of the three properties two persons share."""
    return sum(x == y for x, y in zip(PERSONS[a], PERSONS[b], strict=True))


for word in PERSONS:
    order = [shared(word, other) for other, _ in persons.nearest(word, 7)]
    assert order[:3] == [2, 2, 2]  # nearest: persons that share two properties
    assert order[-1] == 0  # furthest: the person that shares none

# %% [markdown]
# ## Calculating with meaning
#
# The difference from *man* to *king* is "become royal". If the same step leads from *woman* to *queen*,
# then
#
#     king − man + woman ≈ queen
#
# This was not part of the training task. The difference sums up the change of context: crown for field,
# throne for plough.

# %%
for a, b, c, d in (
    ("man", "king", "woman", "queen"),
    ("man", "woman", "king", "queen"),
    ("boy", "prince", "girl", "princess"),
    ("king", "prince", "man", "boy"),
):
    (best, similarity), *_ = persons.analogy(a, b, c, 1)
    print(f"{b} - {a} + {c} = {best}  (cosine {similarity:.2f})")
    assert best == d

# %%
center = persons.units - persons.units.mean(axis=0)
_, _, directions = np.linalg.svd(center)
flat = center @ directions[:2].T  # the two directions in which the persons differ most

picture, axes = figure(size=(6.5, 4.2))
for word, (x, y) in zip(persons.words, flat, strict=True):
    male = PERSONS[word][0] == "m"
    axes.scatter(x, y, color="tab:blue" if male else "tab:red", marker="o" if male else "s")
    axes.annotate(word, (x, y), xytext=(5, 5), textcoords="offset points")
where = dict(zip(persons.words, flat, strict=True))
for start, end in (("man", "king"), ("woman", "queen"), ("boy", "prince"), ("girl", "princess")):
    axes.annotate("", where[end], where[start], arrowprops={"arrowstyle": "->", "color": "tab:gray"})
axes.set(title="Eight persons", xlabel="first principal direction", ylabel="second principal direction")
axes.margins(0.2)
show(
    picture,
    "The vectors of eight words, seen from the side where they differ most. Circles: male, squares: female. "
    "The arrows lead from the common to the royal word; they are nearly parallel and of equal length.",
)

# %% [markdown]
# ## Real text
#
# Real words have thousands of properties, and a text shows most of them rarely. Skip-gram was first trained
# on more than a billion words (Mikolov et al. 2013, arXiv:1301.3781). Eight plays of Shakespeare have
# 200,000, but that is enough to see groups.

# %%
small = {"size": 32, "epochs": 3, "batch_size": 1024, "learning_rate": 0.01, "negatives": 3}
large = {"size": 50, "epochs": 15, "batch_size": 4096, "learning_rate": 0.005, "window": 8}
real = learn(embedded_shakespeare(), pick(20, 40), **pick(large, small))
for word in ("father", "king", "he", "good"):
    print(f"{word:<8}", [other for other, _ in real.nearest(word, 6)])

GROUPS = {
    "family": ["father", "mother", "son", "daughter", "brother", "wife"],
    "pronouns": ["he", "she", "him", "her", "they", "them"],
    "verbs": ["come", "go", "give", "take", "make", "speak"],
}


def mean_cosine(some, others):
    """Between different words of two groups."""
    return float(np.mean([real[a] @ real[b] for a in some for b in others if a != b]))


names = list(GROUPS)
matrix = np.array([[mean_cosine(GROUPS[a], GROUPS[b]) for b in names] for a in names])
print(matrix.round(2))

for i in range(len(names)):
    assert all(matrix[i, i] > matrix[i, j] for j in range(len(names)) if j != i)

# %%
picture, axes = figure(size=(5.5, 3.6))
image = axes.imshow(matrix, cmap="Oranges", vmin=0, vmax=1)
axes.set(xticks=range(3), yticks=range(3), xticklabels=names, yticklabels=names)
axes.set(title="Words of one kind lie together", xlabel="group", ylabel="group")
for i in range(3):
    for j in range(3):
        axes.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center")
picture.colorbar(image, ax=axes).set_label("mean cosine")
show(
    picture,
    "Mean cosine between the vectors of words, learned from Shakespeare. On the diagonal: words of one group "
    "with each other. Beside it: words of two groups. Each group is nearer to itself than to the others.",
)

# %% [markdown]
# And king − man + woman, on these vectors? One example proves little, so ask all such questions that the
# words allow (*father : mother, king : queen, he : she*, …). Most answers are wrong, but they are right far
# more often than chance: the directions are there, with noise.

# %%
ranked = [word for word, _ in real.analogy("man", "king", "woman", len(real))]
place = ranked.index("queen") + 1
score = ask_analogies(real)[0]
print(f"king - man + woman: {ranked[:5]}; queen is number {place} of {len(ranked)}")
print(f"{score.right} of {score.asked} questions right, {score.among_five} among five answers")

assert place <= len(ranked) / 10
assert score.right / score.asked > 0.08
assert 1 / len(ranked) < 0.002  # a word sampled at random

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** How many numbers has the embedding table of a vocabulary of 1,000 tokens with vectors of 64
# numbers?

# %%
answer = None
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Let man = (1, 0), woman = (1, 2) and king = (4, 1). Where should queen be? Answer with a
# pair of numbers.

# %%
answer = None
exercises.check(2, answer)

# %% [markdown]
# **Exercise 3.** Write `nearest(target, words, vectors)`: the word whose vector has the largest cosine with
# `target`. `vectors` has one row for each word. Note that the length of a vector must not matter.


# %%
def nearest(target, words, vectors):
    """The word that points in the direction of target."""
    ...


exercises.check(3, nearest)
