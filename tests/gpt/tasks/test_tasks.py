"""Problems are functions of index and split, splits share nothing, and rewards are exact."""

import re
import subprocess
import sys
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.data.command import embedded_shakespeare
from gpt.data.conversations import read_conversations
from gpt.tasks.base import Problem
from gpt.tasks.command import main
from gpt.tasks.prompts import Prompts
from gpt.tasks.registry import TASKS, task
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, END
from tinytensor.errors import ArgumentError

every = pytest.mark.parametrize("one", TASKS.values(), ids=TASKS)


def solved(problem):
    """The answer, by reading the question."""
    question = problem.question
    if found := re.search(r"(\d+) ([+-]) (\d+)", question):
        a, b = int(found[1]), int(found[3])
        return str(a + b if found[2] == "+" else a - b)
    if found := re.search(r"\b\w( \w)+\b", question):
        return " ".join(sorted(found[0].split()))
    plain = "spell the word how do you write letters letter of one by what reverse backwards is from back "
    plain += "to front many times does occur in count often"
    *letter, word = [
        w for w in re.findall(r"\w+", question) if w not in plain.split() and w == w.lower()
    ] or ["the"]
    if letter:
        return ["zero", "one", "two"][sum(x == letter[0] for x in word)]
    return " ".join(word) if re.search("[Ss]pell|letters", question) else "".join(reversed(word))


@every
def test_answers_are_right(one):
    problems = [one.problem(i, split) for i in range(300) for split in ("train", "test")]
    wrong = [p for p in problems if solved(p) != p.answer]
    assert len(wrong) < 6, wrong[:3]  # words such as `often` are in the phrasings, too
    assert all(one.reward(p, p.answer) == one.reward(p, p.solution) == 1.0 for p in problems)
    assert sum(one.reward(p, q.answer) for p, q in zip(problems, problems[2:], strict=False)) < 450


@every
def test_splits_share_no_problem(one):
    train, test = ([one.problem(i, split) for i in range(1500)] for split in ("train", "test"))
    assert not {p.question for p in train} & {p.question for p in test}
    assert len(set(test)) > 100


def test_a_word_is_in_one_split_of_all_tasks():
    def seen(split):
        spelled = {task("spelling").problem(i, split).answer.replace(" ", "") for i in range(1500)}
        return spelled | {task("reversing").problem(i, split).answer[::-1] for i in range(1500)}

    assert not seen("train") & seen("test")


def test_sorted_letters_are_held_out_in_any_order():
    train, test = ({TASKS["sorting"].problem(i, s).answer for i in range(1500)} for s in ("train", "test"))
    assert not train & test


def test_problems_do_not_depend_on_the_process():
    code = "from gpt.tasks.registry import *; print([t.problem(i) for t in TASKS.values() for i in range(5)])"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == str([t.problem(i) for t in TASKS.values() for i in range(5)])


def test_the_chance_of_sorting_and_counting():
    counts = [TASKS["counting"].problem(i).answer for i in range(1500)]
    assert max(Counter(counts).values()) / 1500 == pytest.approx(TASKS["counting"].chance, abs=0.03)
    lengths = [len(TASKS["sorting"].problem(i).answer.split()) for i in range(1500)]
    guess = sum(1 / len(list(permutations(range(n)))) for n in lengths) / 1500
    assert guess == pytest.approx(TASKS["sorting"].chance, abs=0.005)


def test_the_chance_of_arithmetic():
    pairs = [(a, b) for a in range(21) for b in range(21) if max(a, b) > 9 and a % 10 and b % 10]
    answers = Counter([a + b for a, b in pairs] + [abs(a - b) for a, b in pairs])
    assert TASKS["arithmetic"].chance == pytest.approx(max(answers.values()) / answers.total())


def test_the_working_of_a_sum_is_true_and_gives_no_test_problem_away():
    asked, steps = set(), set()
    for i in range(3000):
        for split in ("train", "test"):
            problem = TASKS["arithmetic"].problem(i, split)
            for equation in problem.solution.split(", ") if problem.working else ():
                *sums, result = equation.split(" = ")
                assert all(
                    sum(map(int, each.replace("- ", "+ -").split(" + "))) == int(result) for each in sums
                )
                a, sign, b = sums[-1].split()
                steps.add((frozenset((a, b)), sign))
            if split == "test":
                assert problem.working
                a, sign, b = re.findall(r"\d+|[+-]", problem.question)
                asked.add((frozenset((a, b)), sign))
    assert len(asked) == 26
    assert len(steps) > 100
    assert not asked & steps


def test_the_working_of_a_count_marks_each_occurrence():
    for i in range(300):
        problem = TASKS["counting"].problem(i)
        letter, word = re.search(r"(?:is|letter) (\w) in (\w+)", problem.question).groups()
        pairs = re.fullmatch(r"(\w\w!?(?: \w\w!?)*): ", problem.working)[1].split(" ")
        assert "".join(written[1] for written in pairs) == word
        assert all(written == letter + written[1] + "!" * (written[1] == letter) for written in pairs)


def test_questions_about_letters_have_characters_of_the_embedded_text():
    known = set(embedded_shakespeare())
    for name in ("spelling", "counting", "sorting", "reversing"):
        for i in range(100):
            assert set("".join(TASKS[name].problem(i))) <= known


@pytest.mark.parametrize(
    ("name", "answer", "right", "wrong"),
    [
        (
            "spelling",
            "l o v e",
            ["L-O-V-E", "It is spelled: l, o, v, e."],
            ["love", "l o v", "l o v e e", ""],
        ),
        ("sorting", "a b", [" a, b\n", "A B"], ["b a", "a b: b a", "ab", "a b c", "a b\nb a", "a 1"]),
        ("reversing", "evol", ["Evol.", "The answer is: evol"], ["love", "evol evol", "e v o l", "evol1"]),
        (
            "counting",
            "two",
            ["2", "The answer is two.", "It occurs 2 times."],
            ["one or two", "22", "none", ""],
        ),
        ("arithmetic", "7", ["3 + 4 = 7", "The answer is 7.", "07"], ["7 or 8", "-7", "77", "seven", "7.5"]),
        ("arithmetic", "7", ["7"], ["7 = "]),
    ],
)
def test_rewards(name, answer, right, wrong):
    problem = Problem("", answer)
    assert [task(name).reward(problem, reply) for reply in right] == [1.0] * len(right)
    assert [task(name).reward(problem, reply) for reply in wrong] == [0.0] * len(wrong)


@every
@given(reply=st.text())
def test_any_reply_has_a_reward(one, reply):
    assert one.reward(Problem("", "a"), reply) in (0.0, 1.0)


def test_an_unknown_task_and_a_wrong_index_are_refused():
    with pytest.raises(ArgumentError, match="did you mean sorting"):
        task("sortng")
    with pytest.raises(ArgumentError, match="numbered from 0"):
        task("sorting").problem(-1)
    with pytest.raises(ArgumentError, match="two splits"):
        task("sorting").problem(0, "val")


def test_the_command_writes_records(tmp_path, told):
    file = tmp_path / "problems.jsonl"
    assert main(["sorting", "counting", "--count=3", "--split=test", f"--out={file}"]) == 0
    found = [tuple(message["content"] for message in talk) for talk in read_conversations(file)]
    names = ("sorting", "counting")
    problems = [task(name).problem(i, "test") for i in (0, 1, 2) for name in names]
    assert found == [(p.question, p.solution) for p in problems]
    assert "counting    count a letter in a word; chance 33.3%" in told("tasks")


# ---- questions in the form that a model was trained on -----------------------------------------------------


def test_a_model_with_chatml_is_asked_as_a_user():
    tokenizer = BPETokenizer.train("", 259, special_tokens=[BEGIN, END, "<|endoftext|>"])
    prompts, special = Prompts(tokenizer), tokenizer.special_tokens
    ids = prompts.of("Sort b a.")
    assert tokenizer.decode(ids) == f"{BEGIN}user\nSort b a.{END}\n{BEGIN}assistant\n"
    assert ids[0] == special[BEGIN]
    assert {special[BEGIN], special[END]} <= set(prompts.stop_ids)
    answer = [*tokenizer.encode("a b"), special[END]]
    assert prompts.text(answer) == prompts.text(answer[:-1]) == "a b"


def test_other_models_are_asked_in_a_plain_form():
    characters = Prompts(CharTokenizer.train("Sort b a.\nAnswer: "))
    assert characters.tokenizer.decode(characters.of("Sort b a.")) == "Sort b a.\nAnswer: "
    assert characters.stop_ids == tuple(characters.tokenizer.encode("\n"))
    tokens = Prompts(BPETokenizer.train("", 257))
    assert tokens.stop_ids == (tokens.tokenizer.separator,)
    assert tokens.text([]) == ""


def test_a_model_with_a_template_of_its_own_is_asked_by_that():
    pytest.importorskip("jinja2")
    tokenizer = BPETokenizer.train("", 257)
    tokenizer.chat_template = "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
    assert tokenizer.decode(Prompts(tokenizer).of("Sort b a.")) == "[INST] Sort b a. [/INST]"
