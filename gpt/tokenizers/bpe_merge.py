"""Apply merges to one piece of text: the heart of byte-pair encoding, in a short and a long form.

Both do the same: of all adjacent pairs take the one with the lowest rank (of several, the leftmost), merge
it, and repeat until no pair has a rank. Knows nothing of bytes and text.
"""

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

__all__ = ["merge", "merge_long", "merge_short"]

Ranks = Mapping[tuple[int, int], int]

_LONG = 64  # tokens; from here on a heap finds the next merge faster than a list
_NEVER = 1 << 62  # the rank of a pair that does not merge
_END, _GONE = -1, -2  # marks in the linked list: before the first and after the last token; swallowed


def merge(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Merge in the form that is faster for so many tokens. May change `ids`.

    Args:
        ids: tokens of one piece.
        ranks: pair → rank.
        made: rank → the token that the merge makes.

    Returns:
        the merged tokens.

    Example:
        >>> from gpt.tokenizers.bpe_merge import merge
        >>> merge([1, 2, 3, 1, 2], {(1, 2): 0, (4, 3): 1}, [4, 5])
        [5, 4]
    """
    return (merge_short if len(ids) < _LONG else merge_long)(ids, ranks, made)


def merge_short(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Merge in a list: n steps of up to n, all of them inside `min`, `index` and slices. Changes `ids`.

    Args:
        ids: tokens of one piece.
        ranks: pair → rank.
        made: rank → the token that the merge makes.

    Returns:
        the merged tokens.

    Example:
        >>> from gpt.tokenizers.bpe_merge import merge_short
        >>> merge_short([1, 2, 3, 1, 2], {(1, 2): 0, (4, 3): 1}, [4, 5])
        [5, 4]
    """
    rank = ranks.get
    queue = [rank(pair, _NEVER) for pair in pairwise(ids)]  # one shorter than ids
    while queue:
        best = min(queue)
        if best == _NEVER:
            break
        i = queue.index(best)
        ids[i : i + 2] = [made[best]]
        del queue[i]
        if i > 0:
            queue[i - 1] = rank((ids[i - 1], ids[i]), _NEVER)
        if i < len(queue):
            queue[i] = rank((ids[i], ids[i + 1]), _NEVER)
    return ids


def merge_long(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Merge in a linked list with a heap: n log n steps, for pieces of any length.

    Args:
        ids: tokens of one piece.
        ranks: pair → rank.
        made: rank → the token that the merge makes.

    Returns:
        the merged tokens.

    Memory: about 150 bytes per token of the piece.

    Example:
        >>> from gpt.tokenizers.bpe_merge import merge_long
        >>> merge_long([1, 2, 3, 1, 2], {(1, 2): 0, (4, 3): 1}, [4, 5])
        [5, 4]
    """
    chain = [*ids, _END]  # chain[-1] is the end, seen from both sides
    size = len(chain)
    after = list(range(1, size + 1))
    before = list(range(-1, size - 1))
    rank = ranks.get
    # One integer holds (rank, place), in the order in which pairs merge.
    heap = [
        found * size + place for place, pair in enumerate(pairwise(ids)) if (found := rank(pair)) is not None
    ]
    heapq.heapify(heap)
    while heap:
        best, place = divmod(heapq.heappop(heap), size)
        other = after[place]
        if chain[place] < 0 or rank((chain[place], chain[other])) != best:
            continue  # an earlier merge took one of the two
        left, right = before[place], after[other]
        chain[place], chain[other] = made[best], _GONE
        after[place], before[right] = right, place
        for start, end in ((left, place), (place, right)):
            found = rank((chain[start], chain[end]))
            if found is not None:
                heapq.heappush(heap, found * size + start)
    return [token_id for token_id in chain if token_id >= 0]
