"""The expressions of `explain`: they mean what they mean in NumPy, and hostile text is an explained error."""

import ast
import contextlib
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers.layouts import read
from tinytensor.lab.explain import expression
from tinytensor.lab.explain.expression import ALSO, MAKERS, METHODS, PROPERTIES, run


@st.composite
def programs(draw):
    """An expression that means the same in NumPy; made by running it there."""
    text = draw(
        st.sampled_from(
            ["arange(24)", "arange(24).reshape(4, 6)", "arange(2, 26, 1)", "arange(24).reshape(2, 3, 4)"]
        )
    )
    for _ in range(draw(st.integers(0, 4))):
        shape = in_numpy(text).shape
        text += draw(st.one_of(st.just(".T"), keys(shape), reshapes(shape), st.just("[None]")))
    return text


def in_numpy(text):
    return eval(text, {"arange": np.arange, "__builtins__": {}})


@st.composite
def keys(draw, shape):
    parts = []
    for length in shape[: draw(st.integers(0, len(shape)))]:
        bound = st.one_of(st.just(""), st.integers(-length - 1, length + 1).map(str))
        step = st.sampled_from(["", ":1", ":2", ":-1", ":-3"])
        parts.append(f"{draw(bound)}:{draw(bound)}{draw(step)}")
        if length and draw(st.booleans()):
            parts[-1] = str(draw(st.integers(-length, length - 1)))
    return f"[{', '.join([*parts, *draw(st.sampled_from([[], ['...'], ['None']]))]) or '...'}]"


@st.composite
def reshapes(draw, shape):
    size = int(np.prod(shape))
    options = [f"({size},)", "-1", f"1, {size}", f"({size}, 1)"] if size else [f"({size},)", f"(3, {size})"]
    return f".reshape({draw(st.sampled_from(options))})"


@given(programs())
def test_expressions_mean_what_they_mean_in_numpy(text):
    steps, expected = run(text), in_numpy(text)
    found = steps[-1][1]
    assert "".join([call for call, _ in steps]) == ast.unparse(ast.parse(text))
    np.testing.assert_array_equal(read(found), expected)
    assert found.shape == expected.shape
    if expected.size:
        pairs = zip(expected.shape, expected.strides, found.strides, strict=True)
        assert all(theirs == 8 * ours for n, theirs, ours in pairs if n > 1)


@pytest.mark.parametrize("call", ["flatten()", "swapaxes(0, 1)", "swapaxes(-1, 0)"])
def test_names_of_numpy_mean_what_they_mean_there(call):
    x = run(f"arange(6).reshape(2, 3).{call}")[-1][1]
    expected = eval(f"a.{call}", {"a": np.arange(6).reshape(2, 3)})
    np.testing.assert_array_equal(x.numpy(), expected)
    assert x.strides == tuple(step // 8 for step in expected.strides)


WRITTEN = {
    call.partition("(")[0]: call
    for call in [
        *("as_strided((2, 2), (1, 3))", "broadcast_to((2, 2, 3))", "diagonal(offset=1)", "expand(4, 2, 3)"),
        *("moveaxis(0, 1)", "permute(1, 0)", "reshape(3, -1)", "transpose(0, 1)", "unfold(1, 2, step=1)"),
        *("unsqueeze(0)", "view(6)", "astype(bfloat16)"),
        *("arange(1, 7, 2)", "eye(2, 3, k=1)", "full((2, 3), -1.5)", "linspace(0, 1, 5)"),
        "tensor([[1, 2], [3, -4]])",
    ]
}


def test_every_call_of_the_lists():
    names = {"x": tt.arange(6, dtype=tt.float32).reshape(2, 3), "bfloat16": tt.bfloat16, "tt": tt}
    for name in [name for name in METHODS if name not in ALSO]:
        call = WRITTEN.get(name, f"{name}()")
        x = run(f"arange(6, dtype=float32).reshape(2, 3).{call}")[-1][1]
        assert x.layout == eval(f"x.{call}", names).layout
    for name in PROPERTIES:
        assert run(f"zeros(2, 3).{name}")[-1][1].shape == (3, 2)
    for name in MAKERS:
        text = f"tt.{WRITTEN.get(name, f'{name}(2, 3)')}"
        (call, x), *_ = run(text)
        assert call.startswith(name)
        if name not in ("empty", "rand", "randn"):
            assert x.tolist() == eval(text, names).tolist()
    for text in ("rand(3)", "randn(3)"):
        assert run(text)[0][1].tolist() == run(text)[0][1].tolist()  # repeatable


@pytest.mark.parametrize("written", ["dtype=bfloat16", "dtype=tt.bfloat16", "dtype='bfloat16'"])
def test_dtypes_may_be_written_in_three_ways(written):
    assert run(f"zeros(2, {written})")[0][1].dtype is tt.bfloat16


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no expression"),
        ("zeros(3", "never closed"),
        ("zeros(3)\x00", "no expression"),
        ("import os", "no expression"),
        ("__import__('os').system('true')", "'__import__' is not a function"),
        ("zeros(3).__class__", "'__class__' is not a property"),
        ("zeros(3).storage.buffer.tofile('x')", "'storage' is not a property"),
        ("zeros(3).numpy()", "'numpy' is not a method"),
        ("zeros(3).reshap(3)", "did you mean reshape?"),
        ("zeroes(3)", "did you mean zeros?"),
        ("x.T", "'x' is not understood"),
        ("zeros(n)", "'n' is not understood"),
        ("zeros(3) + 1", "is arithmetic"),
        ("[zeros(3)][0]", "is not understood"),
        ("(lambda: zeros(3))()", "is not understood"),
        ("zeros(3)[zeros(1)]", "is not understood"),
        ("zeros(3)[[0, 1]]", "a list of indices picks and copies"),
        ("zeros(3)[True]", "is not understood"),
        ("zeros(3)['a':]", "no dtype 'a'"),
        ("zeros(*[3])", "is not understood"),
        ("zeros(**{'shape': 3})", "'**' is not an argument"),
        ("zeros(3, device='emulated')", "'device' is not an argument"),
        ("zeros(3, dtype=float33)", "'float33' is not understood"),
        ("zeros(3, dtype='float33')", "did you mean 'float32'"),
        ("zeros(f'{3}')", "is not understood"),
        ("zeros(3)[5]", "index 5 is outside axis 0"),
        ("zeros(3)[::0]", "step"),
        ("zeros(3).T(1)", "'T' is not a method"),
        ("zeros(3).flip(0, 1, 2)", "does not work"),
        ("arange(1, 2, 0)", "step"),
        ("full(3)", "does not work"),
        ("arange(1025).reshape(1025, 1).expand(1025, 1025).flatten()", "would make"),
        ("zeros(-1)", "negative size"),
        ("zeros(1000, 1000, 1000)", "would make 1000000000 elements"),
        ("zeros(10000000000, [1])", "a size of type list"),
        ("eye([1], 10000000000)", "a size of type list"),
        ("arange(1e999)", "elements"),
        ("arange(0, 1, 1e-300)", "would make"),
        ("linspace(0, 1, 100000000000)", "would make 100000000000"),
        ("zeros(1).expand(1000000000000).contiguous()", "would make 1000000000000"),
        ("zeros(1).expand(1000000, 1000000).T.clone()", "would make"),
        ("zeros(2, 1).expand(2, 1000000000).T.reshape(-1, copy=True)", "cannot be viewed"),
        ("zeros(2, 1).expand(2, 1000000000).T.reshape(-1)", "cannot be viewed"),
        ("zeros(1).expand(10000000000, 10000000000)", "too large"),
        ("zeros(3).as_strided((10,), (1,))", "leave the storage"),
        ("zeros(3)" + ".T" * 40, "41 calls in a row"),
        ("zeros(" + "3" * 2000 + ")", "at most 1000"),
        ("tensor(" + "[" * 400 + "]" * 400 + ")", "no expression"),
        ("zeros(" + "-" * 900 + "1)", "explain"),
        ("zeros(" + "9" * 900 + ")", "would make"),
        ("zeros(3)[" + "9" * 900 + "]", "outside axis"),
    ],
)
def test_what_is_not_understood_is_explained(text, said):
    with pytest.raises(tt.errors.TinyTensorError) as caught:
        run(text)
    assert said in str(caught.value)
    assert caught.value.fix


WORDS = [
    *("zeros", "arange", "full", "rand", "tensor", "eye", "reshape", "T", "mT", "expand"),
    *("as_strided", "x", "tt", "(", ")", "[", "]", ",", ".", ":", "...", "-1", "0", "3"),
    *("2.5", "1e999", "1j", "None", "True", "dtype=", "*", "'a'", "float32", "10**9"),
    *("9999999999", "lambda", "axis=", "if", "{", "}", "=", "\\", "é", "\n", "\x00"),
]


@given(st.lists(st.sampled_from(WORDS), max_size=14).map("".join) | st.text(max_size=30))
def test_any_text_is_a_tensor_or_an_explained_error(text):
    for candidate in (text, f"zeros(3).{text}", f"zeros(2, 3)[{text}]", f"zeros({text})"):
        with contextlib.suppress(tt.errors.TinyTensorError):
            assert all(isinstance(x, tt.Tensor) for _, x in run(candidate))


def test_nothing_is_run_as_python(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("evaluated")

    monkeypatch.setattr("builtins.eval", refuse)
    monkeypatch.setattr("builtins.exec", refuse)
    assert run("zeros(2).T")[-1][1].shape == (2,)
    names = {
        node.id for node in ast.walk(ast.parse(inspect.getsource(expression))) if isinstance(node, ast.Name)
    }
    assert not names & {"eval", "exec", "compile", "literal_eval", "__import__"}
