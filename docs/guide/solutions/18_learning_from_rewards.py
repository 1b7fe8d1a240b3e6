"""Lesson 18, learning from rewards: checks and solutions of its exercises."""

from itertools import combinations

from lesson import RIGHT, Exercise


def advantage(answer):
    if isinstance(answer, int | float) and abs(answer - 0.8) < 1e-9:
        return RIGHT
    hints = {
        1: "that is the reward; subtract the mean of the group",
        0.2: "that is the mean of the group; subtract it from the reward",
        2: "that is divided by the standard deviation, 0.4",
    }
    return hints.get(answer, "subtract the mean of the five rewards from the reward of the right answer")


def pairs(answer):
    for right in range(5):
        rewards = [i < right for i in range(4)]
        found = [any(pair) for pair in combinations(rewards, 2)]
        expected, got = sum(found) / len(found), answer(right)
        if got is None:
            return "the function returns nothing yet"
        if abs(got - expected) > 1e-9:
            return f"with {right} right answers it gives {got}, and {sum(found)} of 6 pairs have a right one"
    return RIGHT


def pass_at_2(right):
    """pass@2 from 4 answers."""
    wrong = 4 - right
    return 1 - wrong * (wrong - 1) / (4 * 3)


EXERCISES = [
    Exercise(
        advantage,
        solution=0.8,
        why="The mean is 0.2. Each of the four others has -0.2: advantages sum to 0.",
        wrong=[1, 0.2, 2, -0.2, "0.8"],
    ),
    Exercise(
        pairs,
        solution=pass_at_2,
        why="A pair is wrong if both are: the first in 4 - right of 4 cases, the second in one less of 3.",
        wrong=[
            lambda right: None,
            lambda right: right / 4,
            lambda right: 1 - (1 - right / 4) ** 2,
            lambda right: min(1.0, right / 2),
        ],
    ),
]
