"""Weight files: equal to the safetensors library both ways, and every broken rule found."""

import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytensor as tt
from tests.helpers.source import ROOT
from tinytensor.errors import DTypeError, FormatError
from tinytensor.interop.safetensors_file import Entry, read_safetensors, write_safetensors

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda n: n != "__metadata__")
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
tensors = st.dictionaries(names, arrays, max_size=5)


def file_bytes(header, data=b"", *, length=None):
    """Build a file from a header (an object, a text or bytes) and data."""
    if not isinstance(header, str | bytes):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert ours[name].shape == array.shape
        assert ours[name].tobytes() == array.tobytes()


# --- beside the library -------------------------------------------------------------------------------


@given(tensors, st.dictionaries(names, names, max_size=2))
def test_reads_what_the_library_writes(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.mktemp("st") / "a.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata=metadata or None)
    for mapped in (True, False):
        file = read_safetensors(path, mapped=mapped)
        assert_same(file.arrays(), tensors)
        assert file.metadata == metadata


@given(tensors, st.dictionaries(names, names, max_size=2))
def test_the_library_reads_what_we_write(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.mktemp("st") / "a.safetensors"
    write_safetensors(path, tensors, metadata)
    assert_same(safetensors.numpy.load_file(path), tensors)
    with safetensors.safe_open(path, framework="np") as file:
        assert (file.metadata() or {}) == metadata
    assert os.listdir(path.parent) == ["a.safetensors"]


def test_each_tensor_begins_at_a_multiple_of_its_item_size(tmp_path):
    arrays = {f"{dtype}{n}": np.zeros(n, dtype) for dtype in DTYPES for n in (3, 1, 0)}
    write_safetensors(tmp_path / "a", arrays, {"step": "7"})
    content = (tmp_path / "a").read_bytes()
    assert content[:8] == safetensors.numpy.save(arrays, {"step": "7"})[:8]  # a header of the same length
    header = json.loads(content[8:][: int.from_bytes(content[:8], "little")])
    assert len(content) % 8 == sum(a.nbytes for a in arrays.values()) % 8
    for name, array in arrays.items():
        assert header[name]["data_offsets"][0] % array.itemsize == 0


def test_any_layout_and_byte_order_is_written_as_it_reads(tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "negative": base[::-1, ::-1],
        "expanded": np.broadcast_to(base[0], (3, 6)),
        "big": base.astype(">f4"),
        "big_transposed": base.astype(">f8").T,
        "scalar": np.array(3.5),
        "empty": base[:0],
    }
    write_safetensors(tmp_path / "a", views)
    read = safetensors.numpy.load_file(tmp_path / "a")
    for name, view in views.items():
        np.testing.assert_array_equal(read[name], view)
        assert read[name].shape == view.shape


def test_bfloat16_travels_as_bits(tmp_path):
    bits = np.array([[0x3F80, 0xC000], [0x7FC0, 0x0001]], np.uint16)  # 1, -2, NaN, the smallest
    write_safetensors(tmp_path / "a", {"w": Entry("BF16", bits), "u": bits})
    file = read_safetensors(tmp_path / "a")
    assert {name: entry.dtype for name, entry in file.entries.items()} == {"w": "BF16", "u": "U16"}
    np.testing.assert_array_equal(file.entries["w"].array, bits)
    assert file.entries["w"].shape == (2, 2)
    listed = dict(safetensors.deserialize((tmp_path / "a").read_bytes()))
    assert listed["w"]["dtype"] == "BF16"
    assert bytes(listed["w"]["data"]) == bits.tobytes()


def test_arrays_are_views_of_the_mapped_file(tmp_path):
    write_safetensors(tmp_path / "a", {"w": np.zeros((4, 4), np.float32)})
    array = read_safetensors(tmp_path / "a").entries["w"].array
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    with open(tmp_path / "a", "rb+") as file:  # a change of the file shows in the array: nothing was copied
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(7).tobytes())
    assert array[3, 3] == 7


@pytest.mark.parametrize("writable", [True, False])
def test_arrays_that_were_read_do_not_need_the_file(tmp_path, writable):
    write_safetensors(tmp_path / "a", {"w": np.ones((4, 4), np.float32), "b": np.ones(())})
    arrays = read_safetensors(tmp_path / "a", mapped=False, writable=writable).arrays()
    os.truncate(tmp_path / "a", 0)  # a mapped array would crash the process now
    assert [a.flags.writeable for a in arrays.values()] == [writable, writable]
    assert sum(a.sum() for a in arrays.values()) == 17


def test_a_tensor_at_an_odd_address_is_copied(tmp_path):
    header = {"a": entry("U8", (1,), (0, 1)), "b": entry("F32", (2,), (1, 9))}
    (tmp_path / "a").write_bytes(file_bytes(header, b"\x05" + np.array([1.5, 2.5], np.float32).tobytes()))
    array = read_safetensors(tmp_path / "a").entries["b"].array
    assert array.flags.aligned
    assert not array.flags.writeable
    assert array.tolist() == [1.5, 2.5]


# --- every rule of the format -------------------------------------------------------------------------

EIGHT, ENTRY = b"\0" * 8, json.dumps(entry())
MANY = ", ".join(f'"{min(i, 99_998)}": 0' for i in range(100_000))
BROKEN = {
    "empty file": (b"", "0 bytes"),
    "short file": (b"\2\0\0", "3 bytes"),
    "length behind the end": (file_bytes({}, length=100), "claims 100 bytes; 2 are possible"),
    "length of all ones": (b"\xff" * 8 + b"{}", "claims 18446744073709551615 bytes"),
    "length above the limit": (file_bytes({}, length=100_000_001), "claims 100000001 bytes"),
    "no header": (file_bytes(b""), "does not begin with '{'"),
    "leading space": (file_bytes(b" {}"), "does not begin with '{'"),
    "a list": (file_bytes([]), "does not begin with '{'"),
    "not UTF-8": (file_bytes(b'{"\xff": 1}'), "not UTF-8"),
    "UTF-16": (file_bytes('{"a": 1}'.encode("utf-16-le")), "not JSON"),
    "half of the JSON": (file_bytes('{"a": '), "not JSON"),
    "text behind the JSON": (file_bytes("{} x"), "not JSON"),
    "NaN": (file_bytes('{"a": NaN}'), "NaN is not JSON"),
    "deep nesting": (file_bytes('{"a":' * 100_000), "not JSON"),
    "an integer of many digits": (file_bytes('{"a": ' + "9" * 10_000 + "}"), "not JSON"),
    "duplicate tensor": (file_bytes(f'{{"a": {ENTRY}, "a": {ENTRY}}}', EIGHT), "'a' appears twice"),
    "the last of many names": (file_bytes(f"{{{MANY}}}"), "'99998' appears twice"),
    "duplicate dtype": (
        file_bytes(f'{{"a": {{"dtype": "F32", {ENTRY[1:]}}}', EIGHT),
        "'dtype' appears twice",
    ),
    "half a surrogate pair": (file_bytes('{"\\ud800": 1}'), "surrogate"),
    "metadata is a number": (file_bytes({"__metadata__": {"step": 1}}), "strings to strings"),
    "metadata is a list": (file_bytes({"__metadata__": ["step"]}), "strings to strings"),
    "metadata with half a surrogate pair": (file_bytes('{"__metadata__": {"a": "\\ud800"}}'), "surrogate"),
    "entry is a number": (file_bytes({"a": 1}), "exactly dtype, shape and data_offsets"),
    "entry without shape": (file_bytes({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, EIGHT), "exactly"),
    "entry with more": (file_bytes({"a": {**entry(), "strides": [1]}}, EIGHT), "exactly"),
    "unknown dtype": (file_bytes({"a": entry("F31")}, EIGHT), "dtype 'F31'"),
    "NumPy's dtype": (file_bytes({"a": entry("O")}, EIGHT), "dtype 'O'"),
    "dtype is a list": (file_bytes({"a": entry([])}, EIGHT), "dtype []"),
    "shape is a number": (file_bytes({"a": {**entry(), "shape": 2}}, EIGHT), "shape"),
    "negative size": (file_bytes({"a": entry(shape=(-2,))}, EIGHT), "shape"),
    "size is a float": (file_bytes({"a": entry(shape=(2.0,))}, EIGHT), "shape"),
    "size is true": (file_bytes({"a": entry(shape=(2, True))}, EIGHT), "shape"),
    "too many axes": (file_bytes({"a": entry(shape=[1] * 64 + [2])}, EIGHT), "at most 64 sizes"),
    "product of sizes overflows": (file_bytes({"a": entry("U8", (2**32, 2**32), (0, 0))}), "2^62"),
    "empty with huge sizes": (file_bytes({"a": entry("U8", (0, 2**62, 2**62), (0, 0))}), "2^62"),
    "one offset": (file_bytes({"a": entry(offsets=(8,))}, EIGHT), "data_offsets"),
    "offset is a text": (file_bytes({"a": entry(offsets=(0, "8"))}, EIGHT), "data_offsets"),
    "end before begin": (file_bytes({"a": entry(offsets=(8, 0))}, EIGHT), "data_offsets"),
    "negative offset": (file_bytes({"a": entry(offsets=(-8, 0))}, EIGHT), "data_offsets"),
    "size against offsets": (file_bytes({"a": entry(shape=(3,))}, EIGHT), "takes 12 bytes by F32 [3], but 8"),
    "overlap": (file_bytes({"a": entry(), "b": entry(offsets=(4, 12))}, b"\0" * 12), "8: it overlaps"),
    "two at one place": (file_bytes({"a": entry(), "b": entry()}, EIGHT), "begins at 0 instead of 8"),
    "hole": (file_bytes({"a": entry(), "b": entry(offsets=(12, 20))}, b"\0" * 20), "8: it leaves a hole"),
    "hole at the front": (file_bytes({"a": entry(offsets=(4, 12))}, b"\0" * 12), "leaves a hole"),
    "file cut off": (
        file_bytes({"a": entry()}, b"\0" * 7),
        "8 bytes of data, the file has 7: the file is cut",
    ),
    "bytes behind the end": (file_bytes({"a": entry()}, b"\0" * 9), "belongs to no tensor"),
    "bytes without tensors": (file_bytes({}, b"\0"), "belongs to no tensor"),
    "BOOL of 2": (file_bytes({"a": entry("BOOL", (2,), (0, 2))}, b"\1\2"), "neither 0 nor 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(tmp_path, name):
    content, why = BROKEN[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for mapped in (True, False):
        with pytest.raises(FormatError) as caught:
            read_safetensors(path, mapped=mapped)
        assert caught.value.what.startswith("read_safetensors: ")
        assert "a.safetensors" in caught.value.what
        assert why in caught.value.why


def test_correct_corners_are_accepted(tmp_path):
    header = {
        "": entry("F32", (), (0, 4)),
        "z": entry("F32", (0, 3), (4, 4)),
        "y": entry("I8", [1] * 64, (4, 5)),
    }
    (tmp_path / "a").write_bytes(file_bytes(json.dumps(header) + "   ", b"\0\0\x80\x3f\xff"))
    file = read_safetensors(tmp_path / "a")
    assert file.entries[""].array == 1
    assert file.entries["z"].shape == (0, 3)
    assert file.entries["y"].array.item() == -1
    (tmp_path / "none").write_bytes(file_bytes({}))
    assert read_safetensors(tmp_path / "none").entries == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="a device or a pipe"):
        read_safetensors(tmp_path / "pipe")
    with pytest.raises(FormatError, match=r"load: .*pipe"):
        tt.load(tmp_path / "pipe")


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_raise_only_format_errors(tmp_path_factory, content, framed):
    read_or_format_error(tmp_path_factory, file_bytes(b"{" + content) if framed else content)


@given(st.data())
def test_random_mutations_raise_only_format_errors(tmp_path_factory, data):
    valid = bytearray(
        safetensors.numpy.save(
            {"w": np.ones((2, 3), np.float32), "b": np.array([True, False]), "s": np.array(3)},
            metadata={"k": "v"},
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(valid) - 1))
        kind = data.draw(st.sampled_from(["replace", "insert", "delete", "cut", "digit"]))
        if kind == "replace":
            valid[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            valid[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        elif kind == "delete":
            del valid[at : at + data.draw(st.integers(1, 9))]
        elif kind == "cut":
            del valid[at:]
        else:
            digits = [i for i, byte in enumerate(valid) if 48 <= byte <= 57]
            if digits:
                valid[digits[at % len(digits)]] = data.draw(st.integers(48, 57))
        if not valid:
            break
    read_or_format_error(tmp_path_factory, bytes(valid))


def read_or_format_error(tmp_path_factory, content):
    """Read; if it succeeds, every tensor lies inside the data, and the library agrees."""
    path = tmp_path_factory.mktemp("st") / "a.safetensors"
    path.write_bytes(content)
    try:
        file = read_safetensors(path)
    except FormatError:
        return
    size = len(content) - 8 - int.from_bytes(content[:8], "little")
    assert sum(entry.array.nbytes for entry in file.entries.values()) == size
    theirs = dict(safetensors.deserialize(content))
    assert theirs.keys() == file.entries.keys()
    for name, entry in file.entries.items():
        assert (entry.dtype, list(entry.shape)) == (theirs[name]["dtype"], theirs[name]["shape"])
        assert entry.array.tobytes() == bytes(theirs[name]["data"])


# --- writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (np.array([object()]), "'w' is an array of object"),
        (np.zeros(2, np.complex128), "complex128"),
        (np.array(["a"]), "<U1"),
        (Entry("BF16", np.zeros(2, np.float32)), "float32, to be written as BF16"),
        (Entry("F31", np.zeros(2, np.float32)), "to be written as F31"),
    ],
)
def test_a_dtype_without_a_name_is_refused(tmp_path, tensor, what):
    with pytest.raises(DTypeError, match="write_safetensors") as caught:
        write_safetensors(tmp_path / "a", {"w": tensor})
    assert what in caught.value.what
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("names", "metadata"),
    [(["__metadata__"], {}), ([3], {}), (["\ud800"], {}), (["w"], {"step": 1}), (["w"], {1: "step"})],
)
def test_names_and_metadata_are_texts(tmp_path, names, metadata):
    with pytest.raises(FormatError, match="write_safetensors"):
        write_safetensors(tmp_path / "a", dict.fromkeys(names, np.zeros(2)), metadata)


def test_two_writers_of_one_file_and_a_reader(tmp_path):
    """The reader sees the file of one of them, never a part, and no writer takes the other's file away."""
    path = tmp_path / "a"
    write_safetensors(path, {"w": np.zeros(1_000)})
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(lambda n=n: [write_safetensors(path, {"w": np.full(1_000, n)}) for _ in range(20)])
            for n in (1.0, 2.0)
        ]
        while not all(job.done() for job in jobs):
            values = read_safetensors(path).entries["w"].array
            assert values.shape == (1_000,)
            assert values.min() == values.max()
        for job in jobs:
            job.result()
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a Unix notion")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    write_safetensors(path, {"w": np.ones(2)})
    code = """
        import resource, sys
        import numpy as np
        from tinytensor.errors import SaveError
        from tinytensor.interop.safetensors_file import write_safetensors
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            write_safetensors(sys.argv[1], {"w": np.zeros(5_000)})
        except SaveError as error:
            print(error)
    """
    words = [sys.executable, "-c", textwrap.dedent(code), path]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "could not be written" in done.stdout
    assert os.listdir(tmp_path) == ["a"]
    assert read_safetensors(path).entries["w"].array.tolist() == [1, 1]
