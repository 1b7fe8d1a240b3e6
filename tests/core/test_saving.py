"""`tt.save` and `tt.load`: what was saved comes back, other libraries read it, damaged files are refused."""

import contextlib
import io
import json
import math
import os
import pickle
import stat
import zipfile
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tinytensor import nn
from tinytensor.dtypes import ALL
from tinytensor.files import atomic_folder, atomic_write
from tinytensor.interop.safetensors_file import read_safetensors, write_safetensors

numbers = st.integers() | st.floats() | st.complex_numbers() | st.booleans()
texts = st.text(st.characters(), max_size=5)  # half surrogate pairs, too
leaves = st.none() | numbers | texts | st.sampled_from(ALL)
keys = st.none() | st.integers() | st.floats(allow_nan=False) | texts | st.tuples(st.integers(), texts)
tensors = st.tuples(st.sampled_from(ALL), st.lists(st.integers(0, 3), max_size=3)).map(
    lambda pair: tt.zeros(*pair[1], dtype=pair[0])
)
trees = st.recursive(
    leaves | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saved"


def again(obj: Any, path: Path, **options: Any) -> Any:
    tt.save(obj, path)
    return tt.load(path, **options)


def assert_same(found: Any, saved: Any) -> None:
    assert type(found) is type(saved)
    if isinstance(saved, tt.Tensor):
        assert (found.dtype, found.shape, found.requires_grad) == (
            saved.dtype,
            saved.shape,
            saved.requires_grad,
        )
        assert repr(found.tolist()) == repr(saved.tolist())
    elif isinstance(saved, dict):
        assert list(found) == list(saved)
        assert [type(key) for key in found] == [type(key) for key in saved]
        for key, value in saved.items():
            assert_same(found[key], value)
    elif isinstance(saved, list | tuple):
        assert len(found) == len(saved)
        for one, other in zip(found, saved, strict=True):
            assert_same(one, other)
    else:
        assert repr(found) == repr(saved)  # nan and -0.0, too


@given(trees, st.booleans())
def test_trees_come_back(tmp_path_factory: pytest.TempPathFactory, tree: Any, mmap: bool) -> None:
    assert_same(again(tree, tmp_path_factory.mktemp("save") / "a", mmap=mmap), tree)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_any_layout_is_saved_as_its_elements(path: Path, dtype: tt.DType) -> None:
    x = tt.tensor(np.arange(12).reshape(3, 4) % 2, dtype=dtype)
    views = [x, x.T, x[::-2, 1:], x[:1].expand(5, 4), x[0, 1], x[:0], x.reshape(-1)[1:]]
    for mmap in (True, False):
        found = again(views, path, mmap=mmap)
        assert_same(found, views)
        for one in found:
            assert one.is_contiguous
            if one.size:
                one[...] = 1  # it may be written to
    assert_same(tt.load(path), views)  # and the file keeps its values


def test_a_small_view_makes_a_small_file(path: Path) -> None:
    tt.save(tt.zeros(1000, 1000)[0, :3], path)
    assert path.stat().st_size < 1000


def test_tied_weights_stay_tied_and_are_written_once(path: Path) -> None:
    weight = nn.Parameter(tt.ones(100, 10))
    state = {"wte": weight.detach(), "lm_head": weight.detach(), "turned": weight.detach().T, "p": weight}
    found = again(state, path)
    assert path.stat().st_size < 2.5 * weight.nbytes  # weight and its transpose
    assert found["wte"].shares_memory(found["lm_head"])
    assert found["wte"].shares_memory(found["p"])
    assert not found["wte"].shares_memory(found["turned"])
    assert isinstance(found["p"], nn.Parameter)
    assert not found["wte"].requires_grad
    with tt.no_grad():
        found["p"][0, 0] = 5.0
    assert found["lm_head"][0, 0].item() == 5.0


def test_history_and_gradients_are_not_saved(path: Path) -> None:
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    leaf, result = again((x, x * 3), path)
    assert leaf.requires_grad
    assert result.requires_grad
    assert result.is_leaf
    assert leaf.grad is None
    assert result.tolist() == [3.0, 6.0]


def test_devices(path: Path) -> None:
    x = tt.arange(6, device="emulated").reshape(2, 3)
    found = again({"x": x, "again": x}, path, map_location="emulated")
    assert str(found["x"].device) == "emulated"
    assert found["x"].tolist() == x.tolist()
    assert found["x"].shares_memory(found["again"])
    assert str(tt.load(path)["x"].device) == "cpu"
    assert tt.equal(tt.load(path, weights_only=True)["x"], tt.load(path, weights_only=False)["x"]).all()
    with pytest.raises(tt.DeviceError, match="load"):
        tt.load(path, "nowhere")


# ---- beside other libraries --------------------------------------------------------------------------------


def test_other_libraries_read_the_tensors_by_name(path: Path) -> None:
    model = nn.Linear(2, 3)
    tt.save(model.state_dict(), path)
    read = safetensors.numpy.load_file(path)
    assert read.keys() == model.state_dict().keys()
    for name, p in model.state_dict().items():
        np.testing.assert_array_equal(read[name], p.numpy())
    tt.save({"model": {"w": tt.ones(2)}, "model.w": tt.zeros(3), "__metadata__": tt.ones(4)}, path)
    names = {name: array.shape for name, array in safetensors.numpy.load_file(path).items()}
    assert names == {"model.w": (2,), "model.w.2": (3,), "__metadata__.2": (4,)}
    assert list(tt.load(path)) == ["model", "model.w", "__metadata__"]


def test_files_of_other_libraries_are_dicts_of_tensors(path: Path) -> None:
    arrays = {"b": np.arange(3, dtype=np.int16), "a": np.ones((2, 2))}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "np"})
    found = tt.load(path)
    assert {name: x.tolist() for name, x in found.items()} == {n: a.tolist() for n, a in arrays.items()}


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def test_files_of_other_formats_are_named_and_nothing_runs(tmp_path: Path) -> None:
    harm = pickle.dumps(Payload(str(tmp_path / "harm")), protocol=2)
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:  # the form of torch.save
        archive.writestr("archive/data.pkl", harm)
    (tmp_path / "old.pt").write_bytes(harm)
    np.save(tmp_path / "a.npy", np.ones(2))
    for name, what, fix in (
        ("model.pt", "zip archive, as torch.save", "safetensors.torch.save_file"),
        ("old.pt", "pickle, which can run any code", "safetensors.torch.save_file"),
        ("a.npy", "numpy.save", r"tt.asarray\(np.load\(path\)\)"),
    ):
        with pytest.raises(tt.FormatError, match=f"(?s){what}.*{fix}"):
            tt.load(tmp_path / name)
    assert not (tmp_path / "harm").exists()


# ---- what is refused ---------------------------------------------------------------------------------------

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("obj", "what", "fix"),
    [
        ({"a": [0, np.ones(2)]}, "a.1 is of type numpy.ndarray", "tt.asarray"),
        ([np.float64(1)], "0 is of type numpy.float64", "x.item()"),
        (nn.Linear(1, 1), "the object is of type tinytensor.nn.linear.Linear", "x.state_dict()"),
        ({"p": Point(1, 2)}, "p is of type tests.core.test_saving.Point", "save what it is made of"),
        ({1: {2: {3}}}, "1.2 is of type set", "save what it is made of"),
        ({frozenset(): 1}, "a key is of type frozenset", "save what it is made of"),
        (b"bytes", "the object is of type bytes", "save what it is made of"),
    ],
)
def test_what_a_file_has_no_form_for(path: Path, obj: Any, what: str, fix: str) -> None:
    with pytest.raises(tt.DTypeError) as caught:
        tt.save(obj, path)
    assert caught.value.what == f"save: {what}"
    assert fix in caught.value.fix
    assert not path.exists()


def test_circles_and_long_numbers_are_refused(path: Path) -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(tt.ArgumentError, match="contains itself"):
        tt.save(circle, path)
    with pytest.raises(tt.ArgumentError, match="too large"):
        tt.save(10**5000, path)


def test_an_ordered_dict_is_read_as_a_dict(path: Path) -> None:
    assert_same(again(OrderedDict(b=1, a=2), path), {"b": 1, "a": 2})


def test_a_failed_save_leaves_the_old_file(path: Path) -> None:
    tt.save(1, path)
    with pytest.raises(tt.DTypeError):
        tt.save([tt.ones(3), {1}], path)
    with pytest.raises(tt.SaveError, match=r"^save: "):
        tt.save(2, path / "inside")
    assert tt.load(path) == 1
    assert os.listdir(path.parent) == [path.name]


def test_a_mapped_file_can_be_saved_over(path: Path) -> None:
    tt.save({"w": tt.arange(1000)}, path)
    state = tt.load(path, mmap=True)
    tt.save(state, path)
    assert state["w"].sum().item() == tt.load(path)["w"].sum().item() == 499500


# ---- damaged and hostile files -----------------------------------------------------------------------------

DEEP = 100_000
TREES = {
    "no JSON": "{",
    "deep lists": "[" * DEEP + "]" * DEEP,
    "deep tuples": '{"tuple":[' * DEEP + "]}" * DEEP,
    "deep, but read by JSON": "[" * 900 + "]" * 900,
    "an unknown object": '[{"tensor": "w"}, {"code": "exit()"}]',
    "an object of two kinds": '[{"tensor": "w"}, {"tuple": [], "dict": []}]',
    "a tensor that is not there": '{"tensor": "v"}',
    "a tensor that is not in the tree": "7",
    "a name that is no text": '{"tensor": ["w"]}',
    "an unknown flag": '{"tensor": "w", "device": true}',
    "a flag that is not true": '{"tensor": "w", "requires_grad": 1}',
    "gradients of integers": '{"tensor": "w", "requires_grad": true}',
    "complex numbers of integers": '{"tensor": "w", "complex128": true}',
    "pairs of three": '{"dict": [["w", {"tensor": "w"}, 3]]}',
    "a key twice": '{"dict": [["w", {"tensor": "w"}], ["w", 2]]}',
    "a key without a hash": '{"dict": [[[], {"tensor": "w"}]]}',
    "a tensor as key": '{"dict": [[{"tensor": "w"}, 1]]}',
    "an unknown dtype": '[{"tensor": "w"}, {"dtype": "float31"}]',
    "an odd float": '[{"tensor": "w"}, {"float": "1.5"}]',
    "an odd complex": '[{"tensor": "w"}, {"complex": ["one", "2"]}]',
    "a complex of three": '[{"tensor": "w"}, {"complex": ["1", "2", "3"]}]',
    "a number of many digits": '[{"tensor": "w"}, ' + "9" * 10_000 + "]",
}


@pytest.mark.parametrize("name", TREES)
def test_a_damaged_tree_is_refused(path: Path, name: str) -> None:
    write_safetensors(path, {"w": np.arange(2)}, {"tinytensor": TREES[name]})
    with pytest.raises(tt.FormatError, match=r"^load: .*saved"):
        tt.load(path)


def test_a_damaged_file_is_refused(path: Path) -> None:
    tt.save({"a": tt.ones(3), "b": [tt.zeros(2)]}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(tt.FormatError, match=r"^load: .*saved"):
            tt.load(path)
    path.write_bytes(b"\xff" * 7 + b"\0" + whole[8:])  # a header of 2**56 bytes
    with pytest.raises(tt.FormatError, match="claims 72057594037927935 bytes"):
        tt.load(path)
    with pytest.raises(tt.FormatError, match=r"^load: "):
        tt.load(path.parent)


def test_a_missing_file_is_also_a_file_not_found(path: Path) -> None:
    for kind in (FileNotFoundError, tt.MissingFileError, tt.FormatError):
        with pytest.raises(kind, match=r"^load: (?s:.*)No such file"):
            tt.load(path)
    with pytest.raises(tt.FormatError) as caught:
        tt.load(path.parent)
    assert not isinstance(caught.value, FileNotFoundError)
    error = pickle.loads(pickle.dumps(tt.MissingFileError("a", why="b", fix="c")))
    assert type(error) is tt.MissingFileError
    assert str(error) == "a\n  why: b\n  fix: c"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_file_that_is_replaced_keeps_its_mode(path: Path, mode: int) -> None:
    tt.save(tt.ones(2), path)
    path.chmod(mode)
    tt.save(tt.ones(3), path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    written = tt.load(path)
    assert written.shape == (3,)
    with atomic_write(path) as file:
        file.write(b"secret")
        file.flush()
        (unfinished,) = path.parent.glob(".saved.*.tmp")
        assert stat.S_IMODE(unfinished.stat().st_mode) == mode | stat.S_IWUSR


def test_a_null_character_is_in_no_name(tmp_path: Path) -> None:
    with pytest.raises(tt.SaveError, match="null character"):
        tt.save(tt.ones(2), tmp_path / "a\0b")
    with pytest.raises(tt.SaveError, match="null character"), atomic_folder(tmp_path / "a\0b", "test"):
        pass


def test_a_missing_folder_is_named(path: Path) -> None:
    folder = str(path.parent / "no")
    with pytest.raises(tt.SaveError) as caught:
        tt.save(tt.ones(2), f"{folder}/state")
    assert caught.value.why == f"the folder {folder!r} does not exist"
    assert f"os.makedirs({folder!r})" in caught.value.fix


@pytest.mark.parametrize("call", [lambda buffer: tt.save(tt.ones(2), buffer), tt.load])
def test_buffers_are_refused(call: Any) -> None:
    with pytest.raises(tt.DTypeError, match=r"a path is expected, not BytesIO(?s:.*)pickle\.dump"):
        call(io.BytesIO())


@given(st.data())
def test_random_changes_raise_only_format_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("save") / "a"
    tt.save({"w": tt.ones(2, requires_grad=True), 1: (tt.tensor([1j], dtype="complex128"), math.nan)}, path)
    tree = bytearray(read_safetensors(path).metadata["tinytensor"].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(tree) - 1))
        tree[at : at + data.draw(st.integers(0, 9))] = data.draw(
            st.sampled_from(['"', "[", "}", "1", ""])
        ).encode()
    arrays = read_safetensors(path, mapped=False).arrays()
    write_safetensors(path, arrays, {"tinytensor": tree.decode("utf-8", "replace")})
    with contextlib.suppress(tt.FormatError):
        tt.load(path)


def test_the_tree_is_json_that_people_read(path: Path) -> None:
    tt.save({"model": {"w": tt.ones(2)}, "betas": (0.9, 0.99), "dtype": tt.float32}, path)
    tree = json.loads(read_safetensors(path).metadata["tinytensor"])
    assert tree == {
        "dict": [
            ["model", {"dict": [["w", {"tensor": "model.w"}]]}],
            ["betas", {"tuple": [0.9, 0.99]}],
            ["dtype", {"dtype": "float32"}],
        ]
    }
