# %% [markdown]
# # 1. Vocabulary
#
# **Goal.** Know what a [vocabulary](glossary.md#vocabulary) is, build one from the characters of a story,
# and measure why real models use neither single characters nor whole words.
#
# A computer calculates with numbers, and a language model is a large calculation. So first a text has to
# become numbers. The vocabulary maps text to numbers: it is a list of pieces of text, each called a
# [token](glossary.md#token). The index of a token in the list is its [token id](glossary.md#token-id).

# %%
import re

from lesson import STORY, Exercises, figure, pick, show

from gpt import CharTokenizer, embedded_shakespeare
from gpt.presets import preset
from tinytensor.errors import ArgumentError

exercises = Exercises("01_vocabulary")

# %% [markdown]
# ## The characters of a story
#
# All lessons use the same small story. Its simplest vocabulary contains every distinct character, in the
# order of Unicode. The space and the full stop are characters like any other, and `T` is not `t`.

# %%
print(STORY)
vocabulary = sorted(set(STORY))
ids = {character: i for i, character in enumerate(vocabulary)}
print(ids)

assert len(STORY) == 149
assert len(vocabulary) == 22
assert vocabulary[:3] == [" ", ".", "T"]
assert ids["T"] != ids["t"]

# %% [markdown]
# `gpt.CharTokenizer` does the same. It turns text into ids and ids into text; the round trip is exact.

# %%
tokenizer = CharTokenizer.train(STORY)
numbers = tokenizer.encode("The cat sat")
print(numbers)

assert tokenizer.alphabet == "".join(vocabulary)
assert numbers == [ids[character] for character in "The cat sat"]
assert tokenizer.decode(numbers) == "The cat sat"
assert len(tokenizer.encode(STORY)) == len(STORY)  # one id for each character

# %% [markdown]
# The model can neither read nor write characters that are not in the vocabulary. The story has no `z`:

# %%
try:
    tokenizer.encode("The zebra sat")
except ArgumentError as error:
    refusal = str(error)
print(refusal)

assert "unknown character 'z'" in refusal

# %% [markdown]
# ## Why not stay with characters?
#
# Because the texts get long. A model reads a limited number of tokens at a time (lesson 3), and it takes one
# step of calculation for each token that it writes. Whole words make the same text shorter. Let us count both
# in eight plays of Shakespeare.

# %%
plays = embedded_shakespeare()[: pick(None, 300_000)]
words = re.findall(r"\w+|[^\w\s]", plays)  # words, and punctuation marks one by one
print(f"{len(plays):,} characters, {len(set(plays))} of them distinct")
print(f"{len(words):,} words,      {len(set(words)):,} of them distinct")

assert len(set(plays)) < 100
assert len(plays) > 4 * len(words)  # as characters, the text is over four times as long
assert len(set(words)) > 50 * len(set(plays))  # as words, the vocabulary is over fifty times as large

# %% [markdown]
# ## Why not whole words?
#
# Because new ones keep occurring. The picture counts distinct characters and words while the plays are
# read. Nearly all characters occur in the first pages; new words occur up to the last page.

# %%
steps = [len(words) * k // 40 for k in range(1, 41)]
places = [len(plays) * k // 40 for k in range(1, 41)]
distinct_words = [len(set(words[:n])) for n in steps]
distinct_characters = [len(set(plays[:n])) for n in places]

picture, (left, right) = figure(1, 2, size=(8, 3.4))
left.plot([n / 1000 for n in places], distinct_characters, color="tab:blue")
left.set(title="Characters", xlabel="text read (thousand characters)", ylabel="distinct characters so far")
left.set_ylim(0, 70)
right.plot([n / 1000 for n in steps], distinct_words, color="tab:orange")
right.set(title="Words", xlabel="text read (thousand words)", ylabel="distinct words so far")
right.set_ylim(0)
show(
    picture,
    "How a vocabulary grows while plays of Shakespeare are read. Left: distinct characters, nearly "
    "complete after the first part. Right: distinct words, which never stop coming.",
)

new_characters = distinct_characters[-1] - distinct_characters[19]
new_words = distinct_words[-1] - distinct_words[19]
print(f"the second half brought {new_characters} new characters and {new_words:,} new words")

assert new_characters <= 5
assert new_words > 1000

# %% [markdown]
# So a model whose vocabulary is the words of the first nine tenths meets unknown words in the last tenth,
# and cannot read them:

# %%
known = set(words[: len(words) * 9 // 10])
last = words[len(words) * 9 // 10 :]
strangers = [word for word in last if word not in known]
print(f"{len(strangers) / len(last):.1%} of the last words are unknown, for example {strangers[:5]}")

assert len(strangers) > len(last) / 100

# %% [markdown]
# A large vocabulary also costs memory: each token has a row of numbers in the model's first table (lesson
# 5), as wide as the model. GPT-2 has 50,257 tokens, with 768 numbers each.

# %%
gpt2 = preset("gpt2")[0]
rows, width = gpt2.vocab_size, gpt2.n_embd
print(f"{rows:,} rows of {width} numbers: {rows * width:,}")

assert (rows, width) == (50_257, 768)
assert rows * width == 38_597_376

# %% [markdown]
# Real models use a compromise: their tokens are *pieces* of words. Frequent words are one token, rare ones
# a few, and nothing is ever unknown, because in the worst case a word is spelled letter by letter. Lesson 2
# shows how such pieces are found.
#
# ## Exercises
#
# **Exercise 1.** How many tokens has the character vocabulary of `"hello world"`?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Which characters of `"The quick brown fox"` does the vocabulary of the story lack? Answer
# with a set of characters, such as `{"a", "b"}`.

# %%
answer = None
exercises.check(2, answer)

# %% [markdown]
# **Exercise 3.** Write a function that turns a text into ids. `vocabulary` is a list of characters, and an
# id is an index into it.


# %%
def encode(text, vocabulary):
    """One id for each character of a text."""
    ...


exercises.check(3, encode)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
