# %% [markdown]
# # 2. Tokenization
#
# **Goal.** Do [byte-pair encoding](glossary.md#byte-pair-encoding) by hand on "The cat sat", write it in
# twenty lines, and see that the tokenizer of GPT-2 is the same idea, applied to bytes and repeated fifty
# thousand times.
#
# [Tokenization](glossary.md#tokenization) splits a text into tokens and maps them to ids. To *encode* is to
# convert text to ids, to *decode* is the inverse. Lesson 1 ended between two extremes: characters make long
# texts, words make endless vocabularies. Byte-pair encoding starts with characters and merges those that
# often occur together.

# %%
import base64
import io
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import sentencepiece
from lesson import STORY, Exercises, figure, pick, show

from gpt import BPETokenizer, CharTokenizer, embedded_shakespeare
from gpt.presets import preset

exercises = Exercises("02_tokenization")

# %% [markdown]
# ## By hand
#
# Begin with the characters of "The cat sat", and count the pairs of adjacent characters. One pair occurs
# twice.

# %%
tokens = list("The cat sat")
pairs = Counter(pairwise(tokens))
print(tokens)
print(pairs.most_common(3))

assert len(tokens) == 11
assert pairs["a", "t"] == 2
assert all(count == 1 for pair, count in pairs.items() if pair != ("a", "t"))

# %% [markdown]
# So `a` and `t` become one token `at`, wherever they are adjacent. That is a [merge](glossary.md#merge),
# the only operation of byte-pair encoding.


# %%
def merge(tokens, pair):
    """Join each occurrence of a pair, from left to right."""
    joined = []
    for token in tokens:
        if joined and (joined[-1], token) == pair:
            joined[-1] += token
        else:
            joined.append(token)
    return joined


tokens = merge(tokens, ("a", "t"))
print(tokens)

assert tokens == ["T", "h", "e", " ", "c", "at", " ", "s", "at"]

# %% [markdown]
# Nine tokens instead of eleven. Now count again. In so short a text all pairs occur once from here on, and
# ties need a rule. Take the pair that occurs first in the text: `T` and `h`, then `Th` and `e`.

# %%
for _ in range(2):
    counts = Counter(pairwise(tokens))
    best = max(counts, key=lambda pair: counts[pair])  # of equal ones, max takes the first
    tokens = merge(tokens, best)
    print(f"{best} → {tokens}")

assert tokens == ["The", " ", "c", "at", " ", "s", "at"]
assert "".join(tokens) == "The cat sat"  # merging loses nothing


# %% [markdown]
# ## Learned from a story
#
# In a longer text the counts decide. Training is a loop: count, merge the most frequent pair, record the
# merge, repeat. The recorded list of merges, in order, *is* the tokenizer.


# %%
def learn(text, count):
    """The first `count` merges of a text."""
    tokens, merges = list(text), []
    for _ in range(count):
        counts = Counter(pairwise(tokens))
        merges.append(max(counts, key=lambda pair: counts[pair]))
        tokens = merge(tokens, merges[-1])
    return merges


def encode(text, merges):
    """The tokens of any text: all merges, in the order in which they were learned."""
    tokens = list(text)
    for pair in merges:
        tokens = merge(tokens, pair)
    return tokens


merges = learn(STORY, 20)
print(["".join(pair) for pair in merges])
print(encode("The cat ran", merges))

assert Counter(pairwise(STORY))[merges[0]] == max(Counter(pairwise(STORY)).values())
assert len(encode("The cat ran", merges)) < len("The cat ran")
assert "".join(encode("zebra", merges)) == "zebra"  # unknown words fall back to their characters

# %% [markdown]
# Each merge adds one token to the vocabulary and shortens the text. With a vocabulary of 22 characters and
# 20 merges, the story has less than half as many tokens.

# %%
lengths = [len(encode(STORY, merges[:n])) for n in range(len(merges) + 1)]

picture, axes = figure()
axes.plot(range(len(lengths)), lengths, marker="o", color="tab:blue")
axes.set(title="The story gets shorter", xlabel="merges learned", ylabel="tokens of the story")
axes.set_ylim(0)
show(
    picture,
    "Tokens of the story after each merge. Without merges it has one token for each of its 149 characters.",
)

assert lengths[0] == 149
assert all(later < earlier for earlier, later in pairwise(lengths))
assert lengths[-1] < lengths[0] / 2

# %% [markdown]
# ## Bytes instead of characters
#
# There are over 150,000 characters in Unicode; a vocabulary that starts with all of them is too large, and
# with a subset some characters are unknown. GPT-2 starts with [bytes](glossary.md#byte) instead: every text
# in a computer already *is* a sequence of bytes, numbers from 0 to 255, in the encoding UTF-8. So 256
# tokens can represent everything. Letters of English take one byte, others two to four.

# %%
for character in ("e", "é", "猫", "🙂"):
    print(character, list(character.encode("utf-8")))

assert [len(c.encode("utf-8")) for c in ("e", "é", "猫", "🙂")] == [1, 2, 3, 4]

# %% [markdown]
# `gpt.BPETokenizer` is that [byte-level](glossary.md#byte-level-bpe) tokenizer. On "The cat sat" it finds
# the merge that we found by hand (it merges only pairs that occur twice), and decoding inverts encoding for
# any text.

# %%
by_hand = BPETokenizer.train("The cat sat", 300, special_tokens=[])
print(by_hand.merges)

assert by_hand.merges == [(b"a", b"t")]
assert by_hand.vocab_size == 257  # 256 bytes and one merge

for text in ("The cat sat", "naïve café", "猫 🙂", "", "  two  spaces\n"):
    assert by_hand.decode(by_hand.encode(text)) == text
assert len(by_hand.encode("🙂")) == 4  # no merge fits, so there are four bytes
assert len(by_hand.encode("that rat")) == 6  # t h at ␣ r at

# %% [markdown]
# One difference from our twenty lines: a text is first split into words, each with the space before it, and
# no merge crosses a word boundary. Otherwise "cat." and "cat!" and "cat," would all become tokens of their
# own. So most tokens of GPT-2 begin with a space.

# %%
plays = embedded_shakespeare()[: pick(400_000, 100_000)]
tokenizer = BPETokenizer.train(plays, 512)
print([token.decode("utf-8", "replace") for token in tokenizer.tokens[256:280]])

assert all(b" " not in token[1:] for token in tokenizer.tokens[256:] if token.strip())
assert b" the" in tokenizer.tokens

# %% [markdown]
# ## How large should the vocabulary be?
#
# A larger vocabulary gives shorter texts, but each further merge gains less: its pair is rarer than all
# before. GPT-2 stopped at 50,257 tokens: 256 bytes, 50,000 merges, and one [special
# token](glossary.md#special-token) that separates documents.

# %%
sample = plays[:20_000]
numbers = [0, 16, 32, 64, 128, len(tokenizer.merges)]  # of merges
counts = []
for n in numbers:
    vocabulary = {token: i for i, token in enumerate(tokenizer.tokens[: 256 + n])}
    counts.append(len(BPETokenizer(vocabulary, tokenizer.merges[:n], {}).encode(sample)))

picture, axes = figure()
axes.plot(
    [256 + n for n in numbers], [len(sample) / count for count in counts], marker="o", color="tab:green"
)
axes.set(
    title="Characters in a token",
    xlabel="size of the vocabulary (256 bytes and so many merges)",
    ylabel="characters per token",
)
show(
    picture,
    "How many characters a token holds on average, by the size of the vocabulary: longer with more merges.",
)

assert counts[0] == len(sample)
assert all(later < earlier for earlier, later in pairwise(counts))
gains = [(counts[k] - counts[k + 1]) / (numbers[k + 1] - numbers[k]) for k in range(len(numbers) - 1)]
assert all(later < earlier for earlier, later in pairwise(gains))  # tokens saved by one more merge

gpt2 = preset("gpt2")[0]
assert gpt2.vocab_size == 256 + 50_000 + 1

# %% [markdown]
# A text may contain the letters of a special token by accident. So they are encoded as ordinary text,
# unless the caller allows special tokens.

# %%
assert tokenizer.encode("<|endoftext|>", allowed_special="all") == [tokenizer.separator]
assert len(tokenizer.encode("<|endoftext|>")) > 1

# %% [markdown]
# ## Files of other tokenizers
#
# OpenAI publishes its vocabularies as files for its program `tiktoken`: one line for each token, its bytes in
# base64 and its rank. `BPETokenizer.from_ranks` reads them (`gpt2.tiktoken`, `cl100k_base.tiktoken`, …). Here
# we write such a file ourselves, and read it back.

# %%
ordinary = [token for token in tokenizer.tokens if token != b"<|endoftext|>"]
lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(ordinary)]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "shakespeare.tiktoken"
    path.write_text("\n".join(lines))
    again = BPETokenizer.from_ranks(path, special_tokens={"<|endoftext|>": len(ordinary)}, split="gpt2")
print(lines[256], "is", base64.b64decode(lines[256].split()[0]))

assert again.encode(sample) == tokenizer.encode(sample)

# %% [markdown]
# [SentencePiece](glossary.md#sentencepiece), which Llama 2, Mistral and T5 use, is the other well-known
# program. It does not split at spaces first: the space is a character like others, written `▁`.
# This library does not read its `.model` files. We train a small one on the story.

# %%
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(STORY.split(". ")),
    model_writer=model,
    model_type="bpe",
    vocab_size=40,
    minloglevel=2,
)
pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
print(pieces.encode("The cat sat", out_type=str))

assert pieces.decode(pieces.encode("The cat sat")) == "The cat sat"
assert "".join(pieces.encode("The cat sat", out_type=str)) == "▁The▁cat▁sat"
assert len(pieces.encode("The cat sat")) < len(CharTokenizer.train(STORY).encode("The cat sat"))

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Which pair does byte-pair encoding merge first in `"low lower lowest"`? Answer with a pair
# such as `("l", "o")`.

# %%
answer = None
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** How many tokens has `"é🙂"` for a byte-level tokenizer without any merge?

# %%
answer = None
exercises.check(2, answer)

# %% [markdown]
# **Exercise 3.** Write `decode(ids, vocabulary)`: `vocabulary` is a list of tokens, each of them `bytes`,
# and the result is a text. A character may be split between two tokens: `[0, 1]` with `[b"\xc3", b"\xa9"]`
# is `"é"`.


# %%
def decode(ids, vocabulary):
    """The text of ids."""
    ...


exercises.check(3, decode)
