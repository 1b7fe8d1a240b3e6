"""Evaluation by tasks: likelihoods against NumPy, files of three shapes, controls, the table of `eval`."""

import json
import string

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main as command_line
from gpt.config import GPTConfig
from gpt.evaluation import suite
from gpt.evaluation.benchmark_files import Question, read_questions
from gpt.evaluation.likelihood import log_likelihoods
from gpt.evaluation.suite import Comparison, Score, score_task
from gpt.models.gpt import GPT
from gpt.tasks.registry import TASKS
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.save import save_single
from tinytensor.errors import ArgumentError, FormatError

TEXT = "The cat sat on the mat. The dog ran in the park. The cat slept on the mat. " * 30
TOKENIZER, BYTES = BPETokenizer.train(TEXT, 290), BPETokenizer.train("", 257)


@pytest.fixture(scope="module")
def model():
    """A model that knows the text."""
    config = GPTConfig(vocab_size=290, block_size=64, n_layer=1, n_head=2, n_embd=32)
    made = GPT(config, tt.Generator(0))
    ids = np.array(TOKENIZER.encode(TEXT))
    optimizer = tt.optim.AdamW(made.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(160):
        rows = [ids[(7 * step + 11 * row) % 200 :][:33] for row in range(8)]
        optimizer.zero_grad()
        made.loss(tt.tensor([r[:-1] for r in rows]), tt.tensor([r[1:] for r in rows])).backward()
        optimizer.step()
    return made


def log_softmax(x):
    x = x.astype(np.float64) - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def by_hand(model, context, continuation):
    """Log-probability, and whether it is the greedy one: a row at a time, without padding."""
    ids, begin = TOKENIZER.encode(context + continuation), len(TOKENIZER.encode(context))
    with model.evaluating():
        log_p = log_softmax(model(tt.tensor([ids[:-1]])).numpy()[0])
    wanted = ids[begin:]
    own = log_p[begin - 1 :]
    return own[np.arange(len(wanted)), wanted].sum(), bool((own.argmax(-1) == wanted).all()), len(wanted)


def test_likelihoods_are_those_of_single_rows(model):
    pairs = [
        ("The cat", " sat on the mat"),
        ("The dog ran in", " the park."),
        ("The", " zebra"),
        ("The cat sat", "."),
    ]
    model.train()
    found = log_likelihoods(model, TOKENIZER, pairs)
    assert model.training
    for pair, one in zip(pairs, found, strict=True):
        log_p, greedy, tokens = by_hand(model, *pair)
        assert one.log_p == pytest.approx(log_p, rel=1e-5, abs=1e-5)
        assert (one.greedy, one.tokens) == (greedy, tokens)
    assert {one.greedy for one in found} == {True, False}


def test_of_a_long_context_the_last_tokens_are_read(model):
    [found] = log_likelihoods(model, TOKENIZER, [(TEXT[:700], "The dog ran")])
    ids = TOKENIZER.encode(TEXT[:700] + "The dog ran")
    count = len(ids) - len(TOKENIZER.encode(TEXT[:700]))
    with model.evaluating():
        log_p = log_softmax(model(tt.tensor([ids[-65:-1]])).numpy()[0])
    wanted = ids[-count:]
    assert found.log_p == pytest.approx(log_p[-count:][np.arange(count), wanted].sum(), rel=1e-5)


def test_what_has_no_likelihood_is_refused(model):
    with pytest.raises(ArgumentError, match="0 tokens"):
        log_likelihoods(model, TOKENIZER, [("The cat", "")])
    with pytest.raises(ArgumentError, match="give a context"):
        log_likelihoods(model, CharTokenizer("The cat"), [("", "The cat")])
    with pytest.raises(ArgumentError, match="longer one"):
        log_likelihoods(model, TOKENIZER, [("The", "xyz" * 40)])


HELLASWAG = [
    {"ctx": "The cat sat", "endings": ["on the zoo.", "on the mat.", "in a tree.", "yes."], "label": 1},
    {"ctx": "The dog [step] ran", "endings": ["on the mat.", "to", "in the park.", "no."], "label": "2"},
    {"ctx": "The cat slept", "endings": ["on the mat.", "park", "xyz", "slow"], "label": 0},
]
ARC = [
    {"question": "Who sat?", "choices": {"text": ["cat", "dog"], "label": ["A", "B"]}, "answerKey": "A"},
    {
        "question": {
            "stem": "Who ran?",
            "choices": [{"text": "cat", "label": "1"}, {"text": "dog", "label": "2"}],
        },
        "answerKey": "2",
    },
]
MMLU = [
    {"question": "Who says moo? ", "choices": ["cow", "car"], "answer": 0},
    {"question": "Who says hoot?", "subject": "farm_life", "choices": ["cow", "pig", "owl"], "answer": "C"},
]
LAMBADA = [{"text": "The cat sat on the mat. The dog ran in the park."}, {"text": "The dog ran in the zoo"}]


def written(tmp_path, records):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n\n", encoding="utf-8")
    return path


def test_files_of_each_shape(tmp_path):
    first, second, _ = read_questions(written(tmp_path, HELLASWAG))
    assert first == Question("The cat sat", (" on the zoo.", " on the mat.", " in a tree.", " yes."), 1)
    assert (second.context, second.answer) == ("The dog ran", 2)
    assert read_questions(written(tmp_path, ARC)) == [
        Question("Question: Who sat?\nAnswer:", (" cat", " dog"), 0),
        Question("Question: Who ran?\nAnswer:", (" cat", " dog"), 1),
    ]
    about = "The following are multiple choice questions (with answers) about farm life.\n\n"
    assert read_questions(written(tmp_path, MMLU)) == [
        Question("Who says moo?\nA. cow\nB. car\nAnswer:", (" A", " B"), 0),
        Question(f"{about}Who says hoot?\nA. cow\nB. pig\nC. owl\nAnswer:", (" A", " B", " C"), 2),
    ]
    assert read_questions(written(tmp_path, LAMBADA))[1] == Question("The dog ran in the", (" zoo",))


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], "one or more questions"),
        ([{"ctx": "a", "endings": ["b", "c"], "label": 2}], "the right answer is 2; the labels are 0, 1"),
        ([{"ctx": "a", "endings": ["b", "c"], "label": -1}], "the right answer is -1"),
        ([{"ctx": "a", "endings": ["b", "c"], "label": 1.7}], "the right answer is 1.7"),
        ([{"ctx": "a", "endings": ["b", "c"], "label": True}], "the right answer is True"),
        ([{"ctx": "a", "endings": ["b", "c"]}], "the right answer is None"),
        ([{"ctx": "a", "endings": "bc", "label": 0}], "not lists of texts"),
        ([{"ctx": "a", "endings": [1, 2], "label": 0}], "not lists of texts"),
        ([{"ctx": "a", "endings": ["b", ""], "label": 0}], "2 choices"),
        ([{"ctx": "a", "endings": ["b"], "label": 0}], "1 choices"),
        ([{"endings": ["b", "c"], "label": 0}], "'ctx' is missing or null"),
        ([ARC[0] | {"answerKey": "C"}], "the right answer is 'C'; the labels are A, B"),
        ([ARC[0] | {"choices": {"text": [" ", "b"], "label": ["A", "B"]}}], "2 choices"),
        ([ARC[0] | {"choices": {"text": ["a", "b", "c"], "label": ["A", "B"]}}], "3 choices and 2 labels"),
        ([ARC[0] | {"choices": {"text": ["a", "b"], "label": 3}}], "not lists of texts and labels"),
        ([{"question": "a", "answerKey": "A"}], "not lists of texts and labels"),
        ([MMLU[0] | {"answer": 2}], "the right answer is 2; the labels are A, B"),
        ([MMLU[0] | {"answer": -1}], "the right answer is -1"),
        ([MMLU[0] | {"answer": True}], "the right answer is True"),
        ([MMLU[0] | {"answer": "cow"}], "the right answer is 'cow'"),
        ([MMLU[0] | {"choices": ["a"] * 27}], "27 choices and 26 labels"),
        ([MMLU[0] | {"choices": "cow, car"}], "not lists of texts and labels"),
        ([MMLU[0] | {"question": None}], "'question' is missing or null"),
        ([LAMBADA[0], {"text": "word"}], "line 2\n.*fewer than two words"),
        ([{"text": 3}], "'text' is 3, which is not a text"),
        ([["a"]], "not an object|not JSON"),
        ([{"something": "else"}], "'text' is missing or null; other fields are 'something'"),
        ([LAMBADA[0], HELLASWAG[0]], "all with choices"),
    ],
)
def test_a_file_of_another_shape_is_refused(records, why, tmp_path):
    with pytest.raises(FormatError, match=rf"questions\.jsonl(.|\n)*({why})"):
        read_questions(written(tmp_path, records))


def test_choices_are_compared_per_character(model, tmp_path):
    path = str(written(tmp_path, HELLASWAG))
    questions = read_questions(path)
    right = []
    for q in questions:
        values = [by_hand(model, q.context, c)[0] / (len(c) - 1) for c in q.choices]
        right.append(int(np.argmax(values)) == q.answer)
    found = score_task(model, TOKENIZER, path)
    assert found.value == np.mean(right) == 1.0
    assert (found.chance, found.count) == (0.25, 3)
    assert score_task(model, TOKENIZER, path, count=2).count == 2


def test_a_last_word_is_right_if_it_is_the_greedy_one(model, tmp_path):
    found = score_task(model, TOKENIZER, str(written(tmp_path, LAMBADA)))
    assert found.value == 0.5  # park., but not zoo
    assert found.control == 0.5  # `The dog ran in the` is the end of both contexts


def test_the_control_asks_other_questions(model, tmp_path):
    records = [{"text": "The cat sat on the mat."}, {"text": "The dog ran in the park."}]
    found = score_task(model, TOKENIZER, str(written(tmp_path, records)))
    assert (found.value, found.control) == (1.0, 0.0)


def test_generated_tasks(monkeypatch):
    problems = [TASKS["sorting"].problem(i, "test") for i in range(100)]
    replies = {repr(BYTES.encode(f"{p.question}\nAnswer: ")): p.answer for p in problems}

    def answers(model, prompts, most, **how):
        assert how["temperature"] == 0.0
        return [[*BYTES.encode(replies[repr(prompt)]), BYTES.separator] for prompt in prompts]

    monkeypatch.setattr(suite, "sample_answers", answers)
    model = GPT(GPTConfig(vocab_size=257, block_size=96, n_layer=1, n_head=1, n_embd=4))
    found = score_task(model, BYTES, "sorting", count=100)
    assert (found.value, found.control, found.count) == (1.0, 0.0, 100)
    assert found.chance == TASKS["sorting"].chance


def test_standard_error():
    assert Score(0.36, 0.0, 0.1, 100).stderr == pytest.approx(0.048)
    assert Score(1.2, None, None, 100).stderr is None


def test_one_table_of_several_models(model, tmp_path, told):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_single(model, tmp_path / name / "model.safetensors")
        TOKENIZER.save(tmp_path / name / "tokenizer.json")
    runs = [str(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    file, text = str(written(tmp_path, HELLASWAG)), tmp_path / "text.txt"
    text.write_text(TEXT[:400])
    words = ["eval", *runs, f"--tasks={file},sorting", "--count=3", f"--data={text}"]
    said = told(*words).splitlines()
    assert said[0].split()[-2:] == runs
    assert said[1].split()[:4] == [file, "3", "25.0%", "100.0%"]
    assert said[2].split()[:4] == ["sorting", "3", "7.2%", "0.0%"]
    assert said[3].startswith("bits per byte")
    assert command_line([*words, f"--out={tmp_path / 'scores.json'}"]) == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["models"] == runs
    assert [one["metric"] for one in found["tasks"]] == ["accuracy", "accuracy", "bits per byte"]
    first = found["tasks"][0]["scores"][runs[0]]
    assert first == {"value": 1.0, "stderr": 0.0, "shuffled": first["shuffled"], "count": 3}


def test_a_model_without_a_score_has_an_empty_cell():
    found = Comparison()
    found.add("a", "sorting", Score(0.5, 0.1, 0.07, 10))
    found.add("b", "bits per byte", Score(1.25, None, None, 99))
    lines = found.table().splitlines()
    assert lines[1].split() == ["sorting", "10", "7.0%", "50.0%", "(10.0%)", "-"]
    assert lines[2].split() == ["bits", "per", "byte", "-", "1.2500"]
    assert lines[3].startswith("-: not measured")
    found.add("a", "bits per byte", Score(float("nan"), None, None, 99))
    text = json.dumps(found.as_json(), allow_nan=False)
    assert json.loads(text)["tasks"][1]["scores"]["a"]["value"] is None


def test_a_task_that_a_model_cannot_read_is_named(tmp_path, told, capsys):
    few = CharTokenizer(string.ascii_letters + " .,")
    small = GPT(GPTConfig(vocab_size=few.vocab_size, block_size=64, n_layer=1, n_head=1, n_embd=4))
    save_single(small, tmp_path / "model.safetensors")
    few.save(tmp_path / "tokenizer.json")
    run, text = str(tmp_path / "model.safetensors"), tmp_path / "text.txt"
    text.write_text("The cat: 9!")
    for name, words in (("sorting", ["--tasks=sorting"]), ("bits per byte", [f"--data={text}", "--out=x"])):
        assert command_line(["eval", run, "--count=3", *words]) == 2
        said = capsys.readouterr()
        assert f"eval: {run}, {name}: encode: unknown character" in said.err
        assert f"or leave {run} or {name} out" in said.err
        assert said.out == ""
    assert "no.txt" in told("eval", run, "--tasks=sorting", f"--data={tmp_path / 'no.txt'}", code=2)


def test_wrong_counts_are_refused(model, tmp_path):
    for name in ("sorting", str(written(tmp_path, HELLASWAG))):
        for count in (0, -1, 10**40):
            with pytest.raises(ArgumentError, match=f"count={count}"):
                score_task(model, TOKENIZER, name, count=count)


def test_a_file_that_is_missing_is_no_task(model, tmp_path):
    with pytest.raises(ArgumentError, match=r"cannot read .*none\.jsonl"):
        score_task(model, TOKENIZER, str(tmp_path / "none.jsonl"))


def test_a_model_without_finite_logits_is_not_scored():
    broken = GPT(GPTConfig(vocab_size=257, block_size=64, n_layer=1, n_head=1, n_embd=4))
    with tt.no_grad():
        broken.ln_f.weight.copy_(tt.full((4,), float("nan")))
    with pytest.raises(ArgumentError, match="not finite"):
        log_likelihoods(broken, BYTES, [("a", "b"), ("a", "c")])
