"""Dtypes against NumPy within a kind, and against a table made with PyTorch across kinds."""

import copy
import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest

import tinytensor as tt
from tests.core.test_errors import check_wrong_call
from tinytensor import dtypes
from tinytensor.dtypes import ALL, BY_NAME, DType, accumulator, as_dtype, promote
from tinytensor.errors import ArgumentError, DTypeError

IN_NUMPY = [dtype for dtype in ALL if dtype is not tt.bfloat16]

# torch.result_type of two tensors with one axis, PyTorch 2.13; - where PyTorch has no answer.
PYTORCH = """
     bool   i8  i16  i32  i64   u8  u16  u32  u64  f16 bf16  f32  f64  c64 c128
bool bool   i8  i16  i32  i64   u8    -    -    -  f16 bf16  f32  f64  c64 c128
  i8   i8   i8  i16  i32  i64  i16    -    -    -  f16 bf16  f32  f64  c64 c128
 i16  i16  i16  i16  i32  i64  i16    -    -    -  f16 bf16  f32  f64  c64 c128
 i32  i32  i32  i32  i32  i64  i32    -    -    -  f16 bf16  f32  f64  c64 c128
 i64  i64  i64  i64  i64  i64  i64    -    -    -  f16 bf16  f32  f64  c64 c128
  u8   u8  i16  i16  i32  i64   u8    -    -    -  f16 bf16  f32  f64  c64 c128
 u16    -    -    -    -    -    -  u16    -    -  f16 bf16  f32  f64    -    -
 u32    -    -    -    -    -    -    -  u32    -  f16 bf16  f32  f64    -    -
 u64    -    -    -    -    -    -    -    -  u64  f16 bf16  f32  f64    -    -
 f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f32  f32  f64  c64 c128
bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16  f32 bf16  f32  f64  c64 c128
 f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f64  c64 c128
 f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64 c128 c128
 c64  c64  c64  c64  c64  c64  c64    -    -    -  c64  c64  c64 c128  c64 c128
c128 c128 c128 c128 c128 c128 c128    -    -    - c128 c128 c128 c128 c128 c128
"""

HEADER, *ROWS = [line.split() for line in PYTORCH.strip().splitlines()]
SHORT = dict(zip(HEADER, ALL, strict=True))

# torch.result_type of a tensor and the Python numbers True, 1, 1.0, 1j. Only float16 with 1j is ours: PyTorch
# has a complex dtype of two float16.
PYTORCH_SCALARS = """
bool       bool int64 float32 complex64
int8       int8 int8 float32 complex64
int64      int64 int64 float32 complex64
uint8      uint8 uint8 float32 complex64
uint64     uint64 uint64 float32 complex64
float16    float16 float16 float16 complex64
bfloat16   bfloat16 bfloat16 bfloat16 complex64
float32    float32 float32 float32 complex64
float64    float64 float64 float64 complex128
complex64  complex64 complex64 complex64 complex64
complex128 complex128 complex128 complex128 complex128
"""


def common(*names: DType) -> str:
    try:
        return str(promote(*names))
    except DTypeError:
        return "-"


# -- the singletons ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", IN_NUMPY, ids=str)
def test_code_and_size_are_numpys(dtype):
    array_dtype = np.dtype(dtype.code)
    assert array_dtype.name == dtype.name
    assert array_dtype.itemsize == dtype.itemsize
    assert (
        array_dtype.kind == {"bool": "b", "uint": "u", "int": "i", "float": "f", "complex": "c"}[dtype.kind]
    )
    assert dtype.is_floating == np.issubdtype(array_dtype, np.floating)
    assert dtype.is_inexact == np.issubdtype(array_dtype, np.inexact)


def test_bfloat16_is_stored_as_16_bits():
    assert np.dtype(tt.bfloat16.code) == np.uint16
    assert (tt.bfloat16.kind, tt.bfloat16.itemsize, tt.bfloat16.rank, tt.bfloat16.is_floating) == (
        "float",
        2,
        2,
        True,
    )
    assert [dtype for dtype in ALL if dtype.narrow] == [tt.float16, tt.bfloat16]


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_each_dtype_is_one_object(dtype):
    assert BY_NAME[dtype.name] is dtype
    assert copy.deepcopy(dtype) is dtype
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert repr(dtype) == f"tinytensor.{dtype}"
    assert dtype != dtype.name
    assert getattr(dtypes, "bool_" if dtype is tt.bool else dtype.name) is dtype


# -- as_dtype ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", IN_NUMPY, ids=str)
def test_as_dtype_understands_numpy_and_names(dtype):
    array_dtype = np.dtype(dtype.name)
    for spelling in (dtype, dtype.name, dtype.code, array_dtype, array_dtype.type):
        assert as_dtype(spelling) is dtype


def test_as_dtype_understands_python_types_and_bfloat16():
    assert [as_dtype(t) for t in (bool, int, float, complex)] == [tt.bool, tt.int64, tt.float32, tt.complex64]
    assert as_dtype("bfloat16") is tt.bfloat16
    assert as_dtype("u2") is tt.uint16


@pytest.mark.parametrize(
    ("wrong", "texts"),
    [
        ("flaot32", ["there is no dtype 'flaot32'", "did you mean 'float32'?", "complex128"]),
        ("Float32", ["did you mean 'float32'?"]),
        ("x", ["use one of these names"]),
        (np.dtype("S3"), ["'bytes24'"]),
        (np.longdouble, ["no dtype 'longdouble'"]),
        (np.floating, ["no dtype 'floating'"]),
        (str, ["no dtype 'str'"]),
        (None, ["type NoneType"]),
        (3, ["type int is not a dtype"]),
        ([tt.float32], ["type list"]),
        (np.dtype("f4").newbyteorder(), ["non-native byte order", "newbyteorder('=')"]),
    ],
)
def test_as_dtype_refuses_the_rest(wrong, texts):
    check_wrong_call(lambda: as_dtype(wrong, "zeros"), DTypeError, ["zeros: ", *texts])


# -- promotion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", IN_NUMPY, ids=str)
def test_within_a_kind_promotion_is_numpys(a):
    for b in IN_NUMPY:
        expected = np.promote_types(a.name, b.name).name
        if {a.kind, b.kind} == {"int", "uint"} and tt.uint64 in (a, b):
            assert expected == "float64"  # NumPy leaves the integers here; the standard leaves the pair open
            expected = "-"
        if a.rank == b.rank or tt.bool in (a, b):
            assert common(a, b) == expected, (a, b)


@pytest.mark.parametrize("row", ROWS, ids=HEADER)
def test_across_kinds_promotion_is_pytorchs(row):
    first, *results = row
    for second, expected in zip(HEADER, results, strict=True):
        if expected != "-":
            assert common(SHORT[first], SHORT[second]) == SHORT[expected].name, (first, second)


@pytest.mark.parametrize("line", PYTORCH_SCALARS.strip().splitlines())
def test_python_numbers_lift_the_kind_as_in_pytorch(line):
    dtype, *expected = [BY_NAME[name] for name in line.split()]
    assert [promote(dtype, scalars=(t,)) for t in (bool, int, float, complex)] == expected


def test_promotion_does_not_depend_on_order():
    for trio in itertools.combinations(ALL, 3):
        assert len({common(*order) for order in itertools.permutations(trio)}) == 1, trio


def test_only_the_highest_kind_counts():
    assert promote(tt.int8, tt.uint64, tt.float32) is tt.float32
    assert promote(tt.float64, tt.int8, tt.complex64) is tt.complex128
    assert promote(tt.uint16, tt.complex64) is tt.complex64
    assert promote(tt.int64, tt.bool, tt.float16) is tt.float16
    assert promote(tt.float16, tt.bfloat16, scalars=(int,)) is tt.float32
    assert promote(tt.bool, scalars=(int, float)) is tt.float32
    assert promote(scalars=(bool, int)) is tt.int64


def test_uint64_with_a_signed_integer_is_refused():
    with pytest.raises(DTypeError, match="add: int8 with uint64") as caught:
        promote(tt.int8, tt.uint64, what="add")
    assert "x.astype(tt.int8)" in caught.value.fix


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_sums_are_kept_in_a_wider_dtype(dtype):
    wide = accumulator(dtype)
    if dtype.kind == "complex" or dtype in (tt.float32, tt.float64):
        assert wide is dtype
    elif dtype.narrow:
        assert wide is tt.float32
    else:
        # NumPy sums integers in the widest integer of their kind, bools as signed.
        assert wide.name == np.sum(np.ones(2, dtype.name)).dtype.name


# -- public questions ----------------------------------------------------------------------------------------


class Tensorlike:
    """Stands for a tensor: it has a dtype."""

    dtype = tt.float16


def test_result_type_takes_dtypes_tensors_and_numbers():
    assert tt.result_type(tt.int32) is tt.int32
    assert tt.result_type("int32", Tensorlike()) is tt.float16
    assert tt.result_type(Tensorlike(), tt.bfloat16) is tt.float32
    assert tt.result_type(tt.uint8, 3.5, True) is tt.float32
    assert tt.result_type(tt.float16, np.float64(2)) is tt.float16  # a number, and numbers are weak
    assert tt.result_type(1, 2j) is tt.complex64
    with pytest.raises(DTypeError, match="result_type: no operand"):
        tt.result_type()
    with pytest.raises(DTypeError, match=r"result_type: .*list"):
        tt.result_type([1, 2])
    with pytest.raises(DTypeError, match="result_type: uint64 with int8"):
        tt.result_type(tt.uint64, tt.int8)


def test_can_cast_is_promotion():
    for a, b in itertools.product(ALL, ALL):
        assert tt.can_cast(a, b) == (common(a, b) == b.name)
    assert tt.can_cast(Tensorlike(), "float32")
    assert not tt.can_cast(tt.uint64, tt.int64)
    for wrong in ((3, tt.float32), (tt.float32, "flaot32")):
        with pytest.raises(DTypeError, match="can_cast: "):
            tt.can_cast(*wrong)


@pytest.mark.parametrize(
    "kind",
    [
        "bool",
        "signed integer",
        "unsigned integer",
        "integral",
        "real floating",
        "complex floating",
        "numeric",
    ],
)
def test_isdtype_is_numpys(kind):
    for dtype in IN_NUMPY:
        assert tt.isdtype(dtype, kind) == np.isdtype(np.dtype(dtype.name), kind)
    assert tt.isdtype(tt.bfloat16, kind) == tt.isdtype(tt.float16, kind)


def test_isdtype_takes_dtypes_and_tuples():
    assert tt.isdtype("float32", tt.float32)
    assert not tt.isdtype(tt.float64, tt.float32)
    assert tt.isdtype(tt.uint8, ("bool", ("real floating", tt.uint8)))
    assert not tt.isdtype(tt.uint8, ())
    with pytest.raises(ArgumentError, match="did you mean 'integral'"):
        tt.isdtype(tt.uint8, "integer")
    with pytest.raises(DTypeError, match="isdtype"):
        tt.isdtype(tt.uint8, 3)
    with pytest.raises(DTypeError, match="isdtype"):
        tt.isdtype(8, "bool")


@pytest.mark.parametrize("dtype", [d for d in IN_NUMPY if d.is_inexact], ids=str)
def test_finfo_is_numpys(dtype):
    ours, numpys = tt.finfo(dtype), np.finfo(dtype.name)
    for field in ("bits", "eps", "max", "min", "smallest_normal"):
        value = getattr(ours, field)
        assert value == float(getattr(numpys, field))
        assert type(value) is (int if field == "bits" else float)
    assert ours.dtype.name == numpys.dtype.name


def bfloat16_value(bits: int) -> Fraction:
    """Value of a positive finite bfloat16, from its definition: float32 with the lower half left out."""
    return Fraction(np.array([bits << 16], np.uint32).view(np.float32).item())


def test_finfo_of_bfloat16_follows_from_its_bits():
    info = tt.finfo(tt.bfloat16)
    one = 0x3F80
    assert bfloat16_value(one) == 1
    assert info.eps == bfloat16_value(one + 1) - 1
    assert info.max == bfloat16_value(0x7F7F) == -info.min
    assert info.smallest_normal == bfloat16_value(0x0080)
    assert (info.bits, info.dtype) == (16, tt.bfloat16)
    assert math.isinf(np.array([0x7F80 << 16], np.uint32).view(np.float32).item())  # one above the largest


@pytest.mark.parametrize("dtype", [d for d in ALL if d.rank == 1], ids=str)
def test_iinfo_is_numpys(dtype):
    ours, numpys = tt.iinfo(dtype), np.iinfo(dtype.name)
    assert (ours.bits, ours.max, ours.min) == (numpys.bits, numpys.max, numpys.min)
    assert ours.dtype is dtype


def test_limits_of_the_wrong_kind_name_the_other_function():
    assert tt.finfo(Tensorlike()) == tt.finfo("float16")
    with pytest.raises(DTypeError, match=r"finfo: int8 [\s\S]*tt\.iinfo\(tt\.int8\)"):
        tt.finfo(tt.int8)
    with pytest.raises(DTypeError, match=r"iinfo: float16 [\s\S]*tt\.finfo\(tt\.float16\)"):
        tt.iinfo(Tensorlike())
    for wrong in (tt.finfo, tt.iinfo):
        with pytest.raises(DTypeError, match="info: bool"):
            wrong(tt.bool)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.4.0", reason="NumPy asks since 2.4")
def test_numpy_takes_our_dtypes() -> None:
    for dtype in ALL:
        if dtype is not tt.bfloat16:
            assert np.dtype(dtype) == np.zeros(2, dtype=dtype).dtype == np.dtype(dtype.name)
    with pytest.raises(TypeError, match="bfloat16"):
        np.zeros(2, dtype=tt.bfloat16)
