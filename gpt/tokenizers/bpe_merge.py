"""BPE merge loop for one piece: an O(n²) list version for short pieces, an O(n log n) heap version for long.

Both merge the adjacent pair with the lowest rank (the leftmost of ties), and repeat until no pair has a rank.
Independent of bytes and text.
"""

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

Ranks = Mapping[tuple[int, int], int]

_LONG = 64  # tokens; from here on a heap is faster than a list
_NEVER = 1 << 62  # rank of a pair that does not merge
_END, _GONE = -1, -2  # marks in the linked list: before the first and after the last token; merged away


def merge(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Merge a piece with the faster version for its length: ids, rank of each pair, result of each rank. May
    modify `ids`.

    Example:
        >>> merge([1, 2, 3, 1, 2], {(1, 2): 0, (4, 3): 1}, [4, 5])
        [5, 4]
    """
    return (merge_short if len(ids) < _LONG else merge_long)(ids, ranks, made)


def merge_short(ids: list[int], ranks: Ranks, made: Sequence[int]) -> list[int]:
    """Merge in a list: O(n²), all inside `min`, `index` and slices. Modifies `ids`."""
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
    """Merge in a linked list with a heap: O(n log n), about 150 bytes per token of the piece."""
    chain = [*ids, _END]  # chain[-1] is the end for both directions
    size = len(chain)
    after = list(range(1, size + 1))
    before = list(range(-1, size - 1))
    rank = ranks.get
    # One integer packs (rank, position), in the order in which pairs merge.
    heap = [
        found * size + place for place, pair in enumerate(pairwise(ids)) if (found := rank(pair)) is not None
    ]
    heapq.heapify(heap)
    while heap:
        best, place = divmod(heapq.heappop(heap), size)
        other = after[place]
        if chain[place] < 0 or rank((chain[place], chain[other])) != best:
            continue  # an earlier merge consumed one of the two
        left, right = before[place], after[other]
        chain[place], chain[other] = made[best], _GONE
        after[place], before[right] = right, place
        for start, end in ((left, place), (place, right)):
            found = rank((chain[start], chain[end]))
            if found is not None:
                heapq.heappush(heap, found * size + start)
    return [token_id for token_id in chain if token_id >= 0]
