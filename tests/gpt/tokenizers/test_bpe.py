"""Byte-pair encoding: cutting, training and merging against plain rules, and the round trip of everything."""

import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import BPETokenizer, embedded_shakespeare
from gpt.tokenizers.bpe_merge import merge_long, merge_short
from gpt.tokenizers.bpe_train import BYTE_TOKENS, learn_merges
from gpt.tokenizers.pretokenize import BYTE_NAMES, pieces, printable, split_pattern, unprintable
from tinytensor.errors import ArgumentError, DTypeError

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
HOSTILE = [
    *("", "\0", " ", " " * 500, "\r\n\r\n\t", "\ufeffBOM"),
    "e\u0301 combining, \u202eright to left\u202c",
    "👩‍👩‍👧‍👦 👍🏽 🇩🇪",
    "\U0010ffff\U000e0001\ufffe",
    "<|endoftext|><|endoftext|>",
    "I'll've 'S 's''s",
    "１２ ² ½ Ⅷ 一二三 ไทย עברית العربية",
    "\x1c\x1d\x85\xa0\u2003\u3000\u200b",
    "_a__b_ x²",
]

everything = st.text()  # all of Unicode except surrogates
few = st.text("ab ", max_size=60)  # many repetitions and overlaps


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(embedded_shakespeare()[:100_000], 600)


def plain_merge(word, first, second):
    """All occurrences of a pair, from the left."""
    out, i = [], 0
    while i < len(word):
        if word[i : i + 2] == [first, second]:
            out.append(first + second)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def plain_training(counts, vocab_size, min_count):
    """The definition: count all pairs of the whole corpus anew for each merge."""
    words = [([bytes([b]) for b in piece], count) for piece, count in counts.items()]
    ids = {token: i for i, token in enumerate(BYTE_TOKENS)}
    merges: list[tuple[bytes, bytes]] = []
    while len(ids) < vocab_size:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, count in words:
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        if pairs[best] < min_count:
            break
        ids[best[0] + best[1]] = len(ids)
        merges.append(best)
        words = [(plain_merge(word, *best), count) for word, count in words]
    return merges


def plain_encoding(ids, ranks, made):
    """The definition: look at all pairs again for each merge; lowest rank first, then the leftmost."""
    word = list(ids)
    while True:
        found = [(ranks[pair], i) for i, pair in enumerate(pairwise(word)) if pair in ranks]
        if not found:
            return word
        rank, i = min(found)
        word[i : i + 2] = [made[rank]]


class TestCutting:
    def test_classes_are_those_of_regex(self):
        """Every code point that both libraries know is letter, number, space or other in both."""
        regex = pytest.importorskip("regex")
        known = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
        text = "".join(regex.sub(r"\p{Cn}", "", "".join(known)))
        assert len(text) > 250_000
        for name, category in (("L", "L"), ("N", "N")):
            assert regex.findall(rf"\p{{{name}}}", text) == [
                c for c in text if unicodedata.category(c)[0] == category
            ]
        for c in set(regex.findall(r"\s", text)) | set("\x1c\x1d\x1e\x1f\u200b\ufeff"):
            assert pieces(f"a{c}!") == regex.findall(PATTERN, f"a{c}!")

    def test_no_letter_or_number_lies_beyond_the_limit(self):
        beyond = {unicodedata.category(chr(c))[0] for c in range(0x40000, 0x110000)}
        assert not beyond & {"L", "N"}

    @given(
        st.text(st.characters(exclude_categories=["Cs", "Cn"]))
        | st.text(" '\nsretvmld1²a-\x85\x1c", max_size=30)
    )
    def test_pieces_are_those_of_regex(self, text):
        regex = pytest.importorskip("regex")
        assert pieces(text) == regex.findall(PATTERN, text)

    @given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])))
    def test_smaller_patterns_are_exact_where_they_are_used(self, text):
        assert split_pattern("gpt2", 0x10000).findall(text) == split_pattern().findall(text)
        if text.isascii():
            assert split_pattern("gpt2", 0x80).findall(text) == split_pattern().findall(text)

    def test_bytes_have_gpt2s_names(self):
        assert len(set(BYTE_NAMES.values())) == 256
        assert [BYTE_NAMES[b] for b in (0, 10, 32, 33, 127, 255)] == ["Ā", "Ċ", "Ġ", "!", "ġ", "ÿ"]
        # Published ids of GPT-2: ! is 0, a newline is 198, a space is 220.
        assert [BYTE_TOKENS.index(token) for token in (b"!", b"\n", b" ")] == [0, 198, 220]
        assert all(unprintable(printable(bytes([b, 65]))) == bytes([b, 65]) for b in range(256))


class TestTraining:
    def test_the_example_of_the_paper(self):
        """Sennrich et al. 2016, figure 1, without their end-of-word mark."""
        counts = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
        merges = plain_training(counts, 260, 1)
        assert [a + b for a, b in merges] == [b"es", b"est", b"lo", b"low"]
        tokens = BYTE_TOKENS + [a + b for a, b in merges]
        assert [(tokens[a], tokens[b]) for a, b in learn_merges(counts, 260, 1)] == merges

    @given(st.lists(few | everything, max_size=4), st.integers(257, 300), st.integers(1, 3))
    def test_incremental_counts_equal_counting_anew(self, texts, size, least):
        counts: Counter[bytes] = Counter(piece.encode() for text in texts for piece in pieces(text))
        trained = BPETokenizer.train(texts, size, special_tokens=[], min_count=least)
        assert trained.merges == plain_training(counts, size, least)

    @given(st.dictionaries(st.binary(min_size=1, max_size=40), st.integers(1, 5), max_size=5))
    def test_incremental_counts_equal_counting_anew_on_long_repetitions(self, counts):
        small = {bytes(b % 2 for b in piece): count for piece, count in counts.items()}
        tokens = list(BYTE_TOKENS)
        merges = []
        for a, b in learn_merges(small, 290, 1):
            merges.append((tokens[a], tokens[b]))
            tokens.append(tokens[a] + tokens[b])
        assert len(set(tokens)) == len(tokens)
        assert merges == plain_training(small, 290, 1)

    def test_texts_are_not_joined(self):
        joined = BPETokenizer.train(["ababab"], 300, min_count=1)
        apart = BPETokenizer.train(["ab", "ab", "ab"], 300, min_count=1)
        assert b"abab" in joined.tokens
        assert apart.tokens[256:] == [b"ab", b"<|endoftext|>"]

    def test_a_megabyte_without_a_space_does_not_take_a_minute(self):
        text = "acgt" * 25_000 + "gattaca" * 15_000
        assert BPETokenizer.train(text, 400).vocab_size < 400  # all of it has become one token

    def test_progress_sees_every_merge(self):
        seen = []

        def watch(merges):
            for merge in merges:
                seen.append(merge)
                yield merge

        tokenizer = BPETokenizer.train("low lower lowest", 260, progress=watch)
        assert len(seen) == len(tokenizer.merges)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"vocab_size": 256}, "vocab_size=256"),
            ({"vocab_size": 300, "min_count": 0}, "min_count=0"),
            ({"vocab_size": 300, "special_tokens": [""]}, "special token"),
            ({"vocab_size": 300, "special_tokens": ["a"]}, "special token"),
            ({"vocab_size": 300, "special_tokens": ["<x>", "<x>"]}, "id"),
            ({"vocab_size": 300, "special_tokens": ["\ud800"]}, "surrogate"),
        ],
    )
    def test_wrong_arguments(self, arguments, text):
        with pytest.raises(ArgumentError, match=text):
            BPETokenizer.train("aaa", **arguments)

    def test_wrong_texts(self):
        with pytest.raises(DTypeError, match="bytes"):
            BPETokenizer.train([b"abc"], 300)
        with pytest.raises(ArgumentError, match="position 2"):
            BPETokenizer.train("ab\udc80", 300)


class TestMerging:
    @given(
        st.lists(st.integers(0, 3), max_size=40),
        st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 7)), max_size=12),
    )
    def test_short_and_long_form_equal_the_definition(self, ids, merges):
        """Also where the merges are in an order that no training gives."""
        ranks: dict[tuple[int, int], int] = {}
        for rank, (first, second, _) in enumerate(merges):
            ranks.setdefault((first, second), rank)
        made = [token for *_, token in merges]
        expected = plain_encoding(ids, ranks, made)
        assert merge_short(list(ids), ranks, made) == expected
        assert merge_long(list(ids), ranks, made) == expected

    @pytest.mark.parametrize("unit", ["a", "ab", " ", "acgtta", "é"])
    def test_very_long_pieces(self, tokenizer, unit):
        text = unit * (200_000 // len(unit))
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_results_do_not_share_memory_with_the_cache(self, tokenizer):
        first = tokenizer.encode("hello")
        expected = list(first)
        first.clear()
        assert tokenizer.encode("hello") == expected


class TestRoundTrip:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_text(self, tokenizer, text):
        regex = pytest.importorskip("regex")
        assert pieces(text) == regex.findall(PATTERN, text)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(ids) == text.encode()
        assert tokenizer.encode(text) == ids, "the cache gives the same"

    def test_what_is_no_text_is_refused(self, tokenizer):
        assert tokenizer.decode(tokenizer.encode("🙂")[:2]) == "\ufffd"
        with pytest.raises(ArgumentError, match="position 0"):
            tokenizer.encode("\udc80")
        with pytest.raises(DTypeError, match="bytes"):
            tokenizer.encode(b"abc")


class TestSpecialTokens:
    def test_are_ordinary_text_unless_allowed(self, tokenizer):
        text = "a<|endoftext|>b"
        assert tokenizer.separator == 599
        assert 599 not in tokenizer.encode(text)
        for allowed in ("all", ["<|endoftext|>"], {"<|endoftext|>"}, "<|endoftext|>"):
            ids = tokenizer.encode(text, allowed_special=allowed)
            assert ids == [*tokenizer.encode("a"), 599, *tokenizer.encode("b")]
            assert tokenizer.decode(ids) == text

    def test_the_longest_wins(self):
        tokenizer = BPETokenizer.train("", 258, special_tokens=["<s>", "<s><s>"])
        assert tokenizer.encode("<s><s><s>", allowed_special="all") == [257, 256]
        assert tokenizer.encode("<s><s><s>", allowed_special=["<s>"]) == [256, 256, 256]

    def test_characters_of_patterns_mean_themselves(self):
        tokenizer = BPETokenizer.train("", 258, special_tokens=["[.*]", "(|)"])
        assert tokenizer.encode("[.*](|)", allowed_special="all") == [256, 257]

    def test_unknown_names(self, tokenizer):
        with pytest.raises(ArgumentError, match="<pad>"):
            tokenizer.encode("a", allowed_special=["<pad>"])

    def test_none_at_all(self):
        tokenizer = BPETokenizer.train("", 256, special_tokens=[])
        assert tokenizer.separator is None
        assert tokenizer.encode("<|endoftext|>", allowed_special="all") == tokenizer.encode("<|endoftext|>")
