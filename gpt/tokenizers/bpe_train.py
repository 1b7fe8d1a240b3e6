"""BPE training with incremental pair counts. Independent of encoding and files.

A naive trainer recounts all pairs of the corpus after each merge. Here each distinct piece of text occurs
once, with its count, in one linked list of tokens; a merge visits only the positions of its pair, and updates
the counts of the neighboring pairs. A heap returns the next pair.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping

from gpt.tokenizers.pretokenize import BYTE_NAMES

Pair = tuple[int, int]

BYTE_TOKENS = [bytes([byte]) for byte in BYTE_NAMES]  # the first 256 tokens, in GPT-2's order
_BYTE_IDS = {token[0]: token_id for token_id, token in enumerate(BYTE_TOKENS)}
_BORDER, _GONE = -1, -2  # marks in the list of ids: end of a piece, merged away


class _Corpus:
    """All distinct pieces in one linked list, with counts and positions of adjacent pairs."""

    def __init__(self, piece_counts: Mapping[bytes, int]) -> None:
        self.ids = [_BORDER]
        self.weights = [0]
        for piece, count in piece_counts.items():
            self.ids += [_BYTE_IDS[byte] for byte in piece]
            self.ids.append(_BORDER)
            self.weights += [count] * (len(piece) + 1)
        self.before = list(range(-1, len(self.ids) - 1))
        self.after = list(range(1, len(self.ids) + 1))
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.places: defaultdict[Pair, list[int]] = defaultdict(list)  # of the left token; may be stale
        for place, pair in enumerate(zip(self.ids, self.ids[1:])):
            if pair[0] >= 0 and pair[1] >= 0:
                self.counts[pair] += self.weights[place]
                self.places[pair].append(place)

    def merge(self, pair: Pair, new: int) -> set[Pair]:
        """Replace all occurrences of a pair by a token; returns the pairs that became more frequent."""
        first, second = pair
        ids, before, after, weights = self.ids, self.before, self.after, self.weights
        counts, places = self.counts, self.places
        grown: set[Pair] = set()
        for place in places.pop(pair):  # in order from left to right: in "aaa" the first two merge
            other = after[place]
            if ids[place] != first or ids[other] != second:
                continue  # an earlier merge consumed one of the two
            left, right, weight = before[place], after[other], weights[place]
            if ids[left] >= 0:
                counts[ids[left], first] -= weight
                made = (ids[left], new)
                counts[made] += weight
                places[made].append(left)
                grown.add(made)
            if ids[right] >= 0:
                counts[second, ids[right]] -= weight
                made = (new, ids[right])
                counts[made] += weight
                places[made].append(place)
                grown.add(made)
            ids[place], ids[other] = new, _GONE
            after[place], before[right] = right, place
        del counts[pair]
        return grown


def learn_merges(piece_counts: Mapping[bytes, int], vocab_size: int, min_count: int) -> Iterator[Pair]:
    """Iterator of learned merges in order; merge i creates token 256 + i.

    Each step takes the adjacent pair with the highest count; of ties, the one with the smallest ids. All
    adjacent pairs count, also overlapping ones ("aaa" has (a, a) twice). No two merges create the same bytes:
    no merge crossed the borders of a new token before, so all its occurrences have the same merge history.

    Memory: about 150 bytes per byte of distinct pieces.
    Source: Sennrich, Haddow, Birch 2016, arXiv:1508.07909, algorithm 1, with incremental counts.

    Example:
        >>> [(first, second), *_] = learn_merges({b"low": 5, b"lower": 2, b"new": 6}, 258, min_count=2)
        >>> BYTE_TOKENS[first] + BYTE_TOKENS[second]
        b'lo'
    """
    corpus = _Corpus(piece_counts)
    heap = [(-count, pair) for pair, count in corpus.counts.items()]
    heapq.heapify(heap)
    new = len(BYTE_TOKENS)
    while heap and new < vocab_size:
        negative, pair = heapq.heappop(heap)
        count = corpus.counts.get(pair, 0)
        if count != -negative:  # stale: entries of decreased counts stay in the heap until popped
            if count:
                heapq.heappush(heap, (-count, pair))
            continue
        if count < min_count:
            return
        for made in corpus.merge(pair, new):
            heapq.heappush(heap, (-corpus.counts[made], made))
        yield pair
        new += 1
