"""Questions of the form "man is to king as woman is to …?", made of pairs that stand in the same relation.

Any two pairs of a relation make a question in each direction of asking: n pairs make n(n - 1) questions.
The words are common both in the King James Bible and in today's English.
"""

from __future__ import annotations

from itertools import permutations

__all__ = ["RELATIONS", "Question", "questions"]

Question = tuple[str, str, str, str]  # a is to b as c is to d

RELATIONS = {
    "man and woman": "man woman, king queen, father mother, son daughter, brother sister, husband wife, "
    "he she, his her, himself herself, bridegroom bride, prince princess, male female",
    "past": "go went, come came, see saw, say said, give gave, take took, know knew, make made, find found, "
    "send sent, bring brought, hear heard, eat ate, fall fell, stand stood",
    "plural": "king kings, son sons, day days, city cities, man men, woman women, word words, tree trees, "
    "year years, house houses, child children, servant servants, priest priests, stone stones",
    "ordinal": "two second, three third, four fourth, five fifth, six sixth, seven seventh, eight eighth, "
    "nine ninth, ten tenth",
}


def questions(relation: str) -> list[Question]:
    """All questions of a relation.

    Args:
        relation: one of RELATIONS.

    Returns:
        (a, b, c, d): a is to b as c is to d.

    Example:
        >>> questions("man and woman")[0]
        ('man', 'woman', 'king', 'queen')
    """
    pairs = [tuple(pair.split()) for pair in RELATIONS[relation].split(", ")]
    return [(a, b, c, d) for (a, b), (c, d) in permutations(pairs, 2)]
