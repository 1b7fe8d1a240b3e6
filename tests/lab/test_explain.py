"""Explanations of layouts: against NumPy's own strides and addresses; who shares a buffer; the terminal; and
how many lines and sectors a layout touches: against brute force.
"""

import gc
import re
import subprocess
import sys
import weakref
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers.pages import parse
from tests.helpers.view_programs import BACKWARD_VIEWS, VIEWS, base_shape, draw
from tests.ops.test_view_programs import view_of_array, view_of_tensor
from tinytensor import lab
from tinytensor.__main__ import main
from tinytensor.lab.explain import footprint as module
from tinytensor.lab.explain.explanation import Explanation
from tinytensor.lab.explain.footprint import Reach
from tinytensor.lab.explain.steps import FULL, Buffer, make_step
from tinytensor.lab.html import Html, page
from tinytensor.layout import Layout

EXPRESSION = "arange(12).reshape(3, 4).T[1:, ::2]"


def address(array):
    return array.__array_interface__["data"][0]


def random_view(seed):
    """A tensor that holds its own positions, read through random views, and the same in NumPy."""
    rnd = Random(seed)
    shape = base_shape(rnd)
    counter = np.arange(int(np.prod(shape)))
    x, a = tt.arange(counter.size).reshape(shape), counter.reshape(shape)
    for _ in range(rnd.randint(1, 5)):
        statement = draw(rnd, VIEWS + BACKWARD_VIEWS, [x.shape])
        if statement is None:
            continue
        y, b = view_of_tensor(statement, x)[-1], view_of_array(statement, a)[-1]
        if b.size and np.shares_memory(b, counter):  # else reshape had to copy
            x, a = y, b
    return x, a, counter


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_random_views_against_numpy(start):
    for seed in range(start, start + 50):
        x, a, counter = random_view(seed)
        (step,) = x.explain().steps
        assert step.layout.offset == (address(a) - address(counter)) // 8
        strides = a.__array_interface__["strides"] or a.strides
        assert [t for n, t in zip(a.shape, step.layout.strides) if n > 1] == [
            t // 8 for n, t in zip(a.shape, strides) if n > 1
        ]
        for element in step.elements():
            assert element.position == a[element.index]
            assert step.label(element.position) == str(a[element.index])
            assert eval(step.formula(element.index)) == a[element.index]
        assert {p for p in range(counter.size) if step.reach.covers(p)} == set(a.ravel().tolist())
        assert step.reach.distinct == len(set(a.ravel().tolist()))


SHAPES = [(), (0,), (1,), (3, 0, 2), (70, 40), (30, 3, 50)]
EVERY = [(dtype.name, (2, 1, 2, 1, 2, 2)) for dtype in tt.dtypes.ALL] + [
    ("float32", shape) for shape in SHAPES
]


@pytest.mark.parametrize(("dtype", "shape"), EVERY)
def test_any_dtype_and_shape(dtype, shape):
    x = tt.tensor(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2, dtype=dtype)
    for view in (x, x.flip(), x.expand(2, *shape)):
        explanation = view.explain()
        assert explanation.steps[0].buffer.dtype is x.dtype
        values = explanation.steps[0].values
        assert set(values.values()) <= ({"F", "T"} if dtype == "bool" else {"0", "1", "0+0j", "1+0j"})
        assert len(values) <= 600
        for render in (explanation.text, explanation.html, explanation.svg, view._repr_html_):
            assert len(render()) < 700_000


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_values_are_read_as_they_are(device):
    for dtype in (tt.float16, tt.bfloat16, tt.float64):
        (step,) = tt.tensor([1.5, -0.25, float("nan")], dtype=dtype).to(device).explain().steps
        assert step.values == {0: "1.5", 1: "-0.25", 2: "nan"}
        assert step.buffer.device == device
    x = tt.tensor([1 + 2j, -1j], dtype=tt.complex64)
    assert x.explain().steps[0].values == {0: "1+2j", 1: "-0-1j"}
    assert tt.ones(2).to(device).explain(values=False).steps[0].values == {}
    assert "positions in the buffer" in x.explain(values=False).text()


def explained(layout, dtype, size=None):
    """What is said of a layout, also of one that no memory holds."""
    buffer = Buffer(0, layout.extent[1] + 1 if size is None else size, dtype, "cpu")
    return Explanation("a layout", (make_step("", "", buffer, layout, FULL),))


def test_of_much_the_first_and_the_last_is_shown():
    x = tt.arange(100_000).reshape(10, 100, 100)
    layout = x[2:8, :, ::2].layout
    (step,) = explained(layout, tt.int64, 100_000).steps
    leads = [at for at, row in enumerate(step.rows) if isinstance(row, str)]
    assert [step.rows[at] for at in leads] == [f"[{i}, :, :]" for i in range(6)]
    shown = [row[0] and row[0].index[1] for row in step.rows[1 : leads[1]]]
    assert shown == [*range(5), None, *range(95, 100)]
    assert step.cells == (range(20_000, 20_128), range(79_872, 80_000))
    lines = step.lines_of_cells(8)
    assert [line for line in lines if isinstance(line, int)] == [20_000, 59_744, 20_000]
    assert (
        sum(line if isinstance(line, int) else sum(p is not None for p in line) for line in lines) == 100_000
    )


def test_a_huge_layout_takes_no_time():
    x = tt.zeros(1).expand(10**6, 10**6, 10**6)
    assert "1000000000000000000 indices reach 1 of the 1" in x.explain().text()
    assert "tensor" in x._repr_html_()
    found = explained(Layout((10**6, 10**6), (2 * 10**6, 1), 0), tt.float64)
    assert found.steps[0].reach.blocks(8, 64) == 10**12 // 8
    crossing = explained(Layout((10**4, 10**4, 10**4), (999_983, 999_979, 1_000_003), 0), tt.float32)
    assert "too many" in crossing.text()
    assert "?" in crossing.text()


@pytest.mark.parametrize("skip", [0, 3, 5])
def test_where_a_buffer_begins_in_a_line(skip):
    whole = np.zeros(64)
    first = (-address(whole) % 64) // 8 + skip
    x = tt.from_numpy(whole[first : first + 6])
    (step,) = x.explain().steps
    assert step.buffer.start == address(x.numpy()) % 64 == 8 * skip
    lines = step.lines_of_cells(8)
    assert lines[0][: skip + 1] == [None] * skip + [0]
    assert sum(len(line) for line in lines) == 8 * step.buffer.blocks(64)
    said = "buffer 0: 6 elements of 8 bytes" + f", the first one {8 * skip} bytes into a cache line" * bool(
        skip
    )
    assert said in [text.text for text in parse(page("a", Html(x._repr_html_()))).all("text")]


def test_steps_of_an_expression():
    found = lab.explain_expression("arange(6).reshape(2, 3).T.contiguous().contiguous()[0]")
    assert [(s.call, s.made, s.buffer.number) for s in found.steps] == [
        ("arange(6)", "new buffer", 0),
        (".reshape(2, 3)", "view", 0),
        (".T", "view", 0),
        (".contiguous()", "copy", 1),
        (".contiguous()", "same tensor", 1),
        ("[0]", "view", 1),
    ]
    assert found.title == "arange(6).reshape(2, 3).T.contiguous().contiguous()[0]"
    assert [found.steps[3].label(p) for p in range(6)] == ["0", "3", "1", "4", "2", "5"]


# ---- who shares the buffer ---------------------------------------------------------------------------------


NOTEBOOK = """
owner = tt.zeros(4, 6)
rows, left, right = owner[2:], owner[:, :3], owner[:, 3:]
below = rows[1]
also = left
apart = owner.detach()
owner.T
found = left.explain().aliases
"""


def test_aliases_are_the_live_tensors_on_the_storage():
    names = {"tt": tt, "__name__": "__main__"}
    exec(NOTEBOOK, names)
    assert sorted(alias.names for alias in names["found"]) == [("apart",), ("owner",)]
    (tree,) = [alias for alias in names["found"] if alias.names == ("owner",)]
    assert {view.names: (view.layout, view.asked, view.meets) for view in tree.views} == {
        ("left", "also"): (names["left"].layout, True, True),
        ("right",): (names["right"].layout, False, False),
        ("rows",): (names["rows"].layout, False, True),
        ("below",): (names["below"].layout, False, True),
    }
    text = Explanation("left", names["left"].explain().steps, (tree,)).text()
    assert [line[:9].rstrip() for line in text.splitlines()[-5:]] == [
        "owner  sh",
        "├─ left,",
        "├─ right",
        "├─ rows",
        "└─ below",
    ]
    assert "(no element in common)" in text.splitlines()[-3]


def test_nothing_is_kept_alive():
    x = tt.zeros(5)
    storage = weakref.ref(x.storage)
    explanation = x.explain()
    assert repr(explanation) == str(explanation) == explanation.text()
    gc.disable()  # it must not be needed
    try:
        del x
        assert storage() is None
    finally:
        gc.enable()
    assert explanation.text()


def test_what_is_no_tensor_is_refused():
    with pytest.raises(tt.errors.DTypeError, match="explain: an operand of type list"):
        lab.explain([1.0])


# ---- the terminal ------------------------------------------------------------------------------------------


def test_the_text_of_the_example():
    text = lab.explain_expression(EXPRESSION).text(100)
    assert "[i, j] is at 1 + i*1 + j*8" in text
    assert "[2, 1]: 1 + 2*1 + 1*8 = 11" in text
    assert "0 and 1 do not merge: 1 ≠ 2*8" in text
    assert "6 of the 12 in the buffer, each once: positions 1 to 11" in text
    assert "2 of the buffer's 2, 64 bytes each" in text
    assert "2 of the buffer's 3, 32 bytes each; of these 64 bytes 48 are elements (75%)" in text
    assert [int(n) for n in re.findall(r"\[ *(\d+)\]", text)] == [1, 2, 3, 9, 10, 11]


@pytest.mark.parametrize("width", [30, 40, 60, 79, 80, 100, 132, 250])
def test_lines_fit_the_terminal(width):
    tensors = [
        tt.arange(5000).reshape(50, 100).T,
        tt.ones(3, 4, dtype=tt.bool),
        tt.rand(70, 2, 40),
        tt.rand(70, 2, 40) * 1e-5,
        tt.zeros(0),
    ]
    explanations = [t.explain() for t in tensors] + [lab.explain_expression(EXPRESSION + ".contiguous()")]
    for explanation in explanations:
        assert max(map(len, explanation.text(width).splitlines())) <= width, explanation.text(width)
        assert explanation.text(-5) == explanation.text(0) == explanation.text(1)


def test_marks_stand_at_the_elements():
    """The cells in brackets, read back from the text, are the positions of the view."""
    for seed in range(40):
        x, a, _ = random_view(seed)
        explanation = x.explain(values=False)
        for width in (40, 120):
            _, _, text = explanation.text(width).partition("buffer 0:")
            marked = {int(n) for n in re.findall(r"\[ *(\d+)\]", text.partition("\n\n")[0])}
            assert marked == set(a.ravel().tolist())


def test_the_command(capsys, tmp_path):
    assert main(["explain", EXPRESSION]) == 0
    assert EXPRESSION in capsys.readouterr().out
    page, picture = tmp_path / "a.html", tmp_path / "a.svg"
    assert main(["explain", EXPRESSION, "--html", str(page), "--svg", str(picture)]) == 0
    assert page.read_text(encoding="utf-8") == lab.explain_expression(EXPRESSION).html()
    assert picture.read_text(encoding="utf-8") == lab.explain_expression(EXPRESSION).svg()
    assert main(["explain", "open('x')"]) == 2
    assert "fix:" in capsys.readouterr().err
    for nowhere in (str(tmp_path / "none" / "a.html"), str(tmp_path / ("a" * 300)), str(tmp_path), ""):
        assert main(["explain", EXPRESSION, "--html", nowhere]) == 2
        assert f"cannot write {nowhere!r}" in capsys.readouterr().err


def test_what_a_first_line_does_not_need_is_imported_when_it_is_asked_for():
    code = """
import sys, tinytensor as tt
late = "cuda emulator fft files func interop.saving lab linalg nn op_table ops.linalg ops.fourier optim utils"
late += " runtime.compiler runtime.cuda.occupancy runtime.cuda.runtime runtime.kernel_cache"
assert not {f"tinytensor.{name}" for name in late.split()} & {*sys.modules}
assert not {"difflib", "hashlib", "json", "logging", "numpy.polynomial", "subprocess"} & {*sys.modules}
tt.zeros(2).explain()
assert "tinytensor.lab" in sys.modules
assert all([hasattr(tt, name) for name in ("cuda", "fft", "func", "linalg", "load")])
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@st.composite
def layouts(draw):
    """Up to four axes with any strides, far enough from 0 that no position is negative."""
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    near, far = st.integers(-6, 6), st.integers(-70, 70)
    strides = tuple([draw(st.one_of(near, far)) for _ in shape])
    low, _ = Layout(shape, strides, 0).extent
    return Layout(shape, strides, draw(st.integers(0, 40)) - min(low, 0))


def positions(layout):
    """All positions, as NumPy's own strides lead to them."""
    counter = np.arange(max(layout.extent[1] + 1, 1))
    steps = [8 * s for s in layout.strides]
    return np.ndarray(layout.shape, counter.dtype, counter, 8 * layout.offset if layout.size else 0, steps)


def touched(layout, itemsize, block, start):
    """Blocks, by walking over every byte."""
    first = start + itemsize * np.unique(positions(layout))
    return np.unique((first[:, None] + np.arange(itemsize)) // block).size


@given(layouts(), st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([32, 64]), st.integers(0, 63))
@example(Layout((6, 4), (100, 32), 0), 4, 64, 0)  # the last line of a row is the first one of the next
@example(Layout((3, 3), (2, 3), 0), 4, 64, 0)  # axes that interleave
@example(Layout((2, 2, 2), (2, 3, 5), 0), 4, 64, 0)  # 5 is reached in two ways
def test_counts_are_those_of_brute_force(layout, itemsize, block, start):
    reach = Reach(layout)
    there = set(positions(layout).ravel().tolist())
    assert reach.distinct == len(there)
    assert reach.blocks(itemsize, block, start) == touched(layout, itemsize, block, start)
    around = range(reach.low - 3, reach.high + 4)
    assert [p for p in around if reach.covers(p)] == sorted(there)


@given(layouts())
def test_only_axes_that_interleave_are_enumerated(layout):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ENUMERATED", 0)
        reach, there = Reach(layout), np.unique(positions(layout))
        said = reach.distinct, reach.blocks(4, 64)
        assert said in [(None, None), (there.size, touched(layout, 4, 64, 0))]
        covers = [reach.covers(int(p)) for p in there]
        assert set(covers) <= ({None} if said[0] is None else {True})


@pytest.mark.parametrize("strides", [(100, 32), (17, 1), (16, 1), (4096, 1), (-100, 32), (100, 0)])
def test_sizes_that_no_memory_holds(strides):
    """What one more period of the first axis adds is the same each time; 16 rows are a period."""
    few, more = [touched(Layout((16 * n, 4), strides, 99_999), 4, 64, 0) for n in (1, 2)]
    periods = 10**12
    huge = Layout((16 * periods, 4), strides, 99_999 + 2 * 10**15)
    assert Reach(huge).blocks(4, 64) == few + (more - few) * (periods - 1)


def test_many_axes():
    layout = Layout((2,) * 60, tuple([2**axis for axis in range(60)]), 0)
    assert Reach(layout).distinct == 2**60
    assert Reach(layout).blocks(1, 64) == 2**54
    spread = Layout((2,) * 60, tuple([3**axis for axis in range(60)]), 0)  # ternary numbers without a 2
    assert Reach(spread).distinct == 2**60
    assert Reach(spread).covers(3**59 + 9 + 1)
    assert Reach(spread).covers(3**59 + 2) is False
