"""DTypes: the supported data types, type promotion, casting rules, and numeric limits.

Independent of NumPy. Within a kind the wider dtype wins, as in the Python array API standard; across kinds
complex wins over floats, floats over integers, integers over bools.
"""

from dataclasses import dataclass

from tinytensor.errors import ArgumentError, DTypeError, nearest

__all__ = [
    "DType",
    "bfloat16",
    "can_cast",
    "complex64",
    "complex128",
    "finfo",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "result_type",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

RANKS = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3}


class DType:
    """Data type of the elements of a tensor. There is one object per dtype, so `is` compares them.

    Attributes:
        name: "float32" and so on.
        kind: "bool", "uint", "int", "float" or "complex".
        itemsize: bytes per element.
        code: NumPy code of the stored bytes. NumPy has no bfloat16, its bytes are stored as "u2".
        rank: 0 bool, 1 integers, 2 floats, 3 complex; the higher rank wins in promotion.
        is_floating: a real float.
        is_inexact: a float or complex.
        narrow: float16 or bfloat16; the CPU computes in float32 and rounds the result.
    """

    __slots__ = ("code", "is_floating", "is_inexact", "itemsize", "kind", "name", "narrow", "rank")

    def __init__(self, name: str, kind: str, code: str, itemsize: int) -> None:
        self.name, self.kind, self.code, self.itemsize = name, kind, code, itemsize
        self.rank = RANKS[kind]
        self.is_floating = kind == "float"
        self.is_inexact = kind in ("float", "complex")
        self.narrow = kind == "float" and itemsize == 2

    @property
    def is_floating_point(self) -> bool:
        """PyTorch's name of `is_floating`."""
        return self.is_floating

    def __repr__(self) -> str:
        return f"tinytensor.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[object, ...]:
        return as_dtype, (self.name,)


bool_ = DType("bool", "bool", "?", 1)
int8 = DType("int8", "int", "i1", 1)
int16 = DType("int16", "int", "i2", 2)
int32 = DType("int32", "int", "i4", 4)
int64 = DType("int64", "int", "i8", 8)
uint8 = DType("uint8", "uint", "u1", 1)
uint16 = DType("uint16", "uint", "u2", 2)
uint32 = DType("uint32", "uint", "u4", 4)
uint64 = DType("uint64", "uint", "u8", 8)
float16 = DType("float16", "float", "f2", 2)
bfloat16 = DType("bfloat16", "float", "u2", 2)
float32 = DType("float32", "float", "f4", 4)
float64 = DType("float64", "float", "f8", 8)
complex64 = DType("complex64", "complex", "c8", 8)
complex128 = DType("complex128", "complex", "c16", 16)

ALL: tuple[DType, ...] = (
    *(bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
    *(float16, bfloat16, float32, float64, complex64, complex128),
)
BY_NAME: dict[str, DType] = {dtype.name: dtype for dtype in ALL}

# "u2" means uint16: bfloat16 has no code of its own.
_BY_CODE = {dtype.code: dtype for dtype in ALL if dtype is not bfloat16}
_BY_PYTHON_TYPE: dict[type, DType] = {bool: bool_, int: int64, float: float32, complex: complex64}
_SIGNED = {1: int8, 2: int16, 4: int32, 8: int64}


def as_dtype(obj: object, what: str = "dtype") -> DType:
    """DType from a DType, name, NumPy code ("f4"), Python type, NumPy dtype or NumPy scalar type."""
    if type(obj) is DType:
        return obj
    if isinstance(obj, type):
        found = _BY_PYTHON_TYPE.get(obj) or BY_NAME.get(obj.__name__)
    elif isinstance(obj, str):
        found = BY_NAME.get(obj) or _BY_CODE.get(obj)
    else:
        found = BY_NAME.get(getattr(obj, "name", ""))
    if found is None:
        raise _unknown(obj, what)
    if not getattr(obj, "isnative", True):
        # The name does not show the byte order, and the bytes would be misread.
        raise DTypeError(
            f"{what}: {obj!r} has a non-native byte order",
            why="tensors store native byte order",
            fix="convert the array first: array.astype(array.dtype.newbyteorder('='))",
        )
    return found


def _unknown(obj: object, what: str) -> DTypeError:
    """DTypeError for an invalid dtype, with the closest valid name if there is one."""
    names = ", ".join(BY_NAME)
    name = obj if isinstance(obj, str) else getattr(obj, "name", getattr(obj, "__name__", None))
    if not isinstance(name, str):
        return DTypeError(
            f"{what}: an object of type {type(obj).__name__} is not a dtype",
            why="a dtype is a tinytensor.DType, its name, or the matching Python or NumPy type",
            fix=f"use one of {names}",
        )
    near = nearest(name.lower(), BY_NAME)
    return DTypeError(
        f"{what}: there is no dtype {name!r}",
        why=f"the dtypes are {names}",
        fix=f"did you mean {near!r}?" if near else "use one of these names",
    )


# -- promotion -----------------------------------------------------------------------------------------------

_promoted: dict[tuple[tuple[DType, ...], tuple[type, ...]], DType] = {}


def promote(*dtypes: DType, scalars: tuple[type, ...] = (), what: str = "promotion") -> DType:
    """Common dtype of tensors with `dtypes` and of Python numbers with the types `scalars`.

    Python numbers are weakly typed: they promote bools to integers, integers to floats and so on, to the
    default dtype of that kind, but never widen. Results are cached, since every binary op needs them.
    """
    if dtypes and not scalars and dtypes.count(dtypes[0]) == len(dtypes):
        return dtypes[0]
    try:
        return _promoted[dtypes, scalars]
    except KeyError:
        pass
    result = _promote_tensors(dtypes, what) if dtypes else bool_
    for scalar in scalars:
        weak = next((_BY_PYTHON_TYPE[t] for t in scalar.__mro__ if t in _BY_PYTHON_TYPE), None)
        if weak is None:  # an enum is an int
            raise DTypeError(
                f"{what}: an operand of type {scalar.__name__}",
                why="only tensors and Python numbers can be combined",
                fix="make it a tensor first: tt.asarray(x)",
            )
        if weak.rank > result.rank:
            result = complex128 if weak is complex64 and result is float64 else weak
    return _promoted.setdefault((dtypes, scalars), result)


def _promote_tensors(dtypes: tuple[DType, ...], what: str) -> DType:
    """Promote across kinds: the highest rank decides, except that float64 widens complex64 to complex128."""
    rank = max(dtype.rank for dtype in dtypes)
    result, *others = [dtype for dtype in dtypes if dtype.rank == rank]
    for other in others:
        result = _promote_within(result, other, what)
    return complex128 if rank == 3 and float64 in dtypes else result


def _promote_within(a: DType, b: DType, what: str) -> DType:
    """Smallest dtype that represents all values of two dtypes of the same rank."""
    if a is b:
        return a
    if a.kind == b.kind:
        # float16 has more precision, bfloat16 more range.
        return float32 if a.itemsize == b.itemsize else max(a, b, key=lambda dtype: dtype.itemsize)
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    if unsigned is uint64:
        raise DTypeError(
            f"{what}: {a} with {b}",
            why=f"no integer dtype holds all values of {unsigned} and {signed}",
            fix=f"convert one of them, for example x.astype(tt.{signed})",
        )
    return _SIGNED[max(signed.itemsize, 2 * unsigned.itemsize)]


def accumulator(dtype: DType) -> DType:
    """Dtype of sums of `dtype`: float32 or wider, int64, uint64, or the complex dtype itself."""
    if dtype.is_floating:
        return float64 if dtype is float64 else float32
    if dtype.is_inexact:
        return dtype
    return uint64 if dtype.kind == "uint" else int64


# -- public functions on dtypes ------------------------------------------------------------------------------

_KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int",),
    "unsigned integer": ("uint",),
    "integral": ("int", "uint"),
    "real floating": ("float",),
    "complex floating": ("complex",),
    "numeric": ("int", "uint", "float", "complex"),
}


def _dtype_of(obj: object, what: str) -> DType:
    """Dtype of a tensor, or of anything that `as_dtype` accepts."""
    own = getattr(obj, "dtype", None)
    return own if type(own) is DType else as_dtype(obj, what)


def result_type(*operands: object) -> DType:
    """Dtype of the result of an elementwise op such as `+` for these operands.

    Within a kind the wider dtype wins; across kinds complex wins over floats, floats over integers, integers
    over bool. Python numbers are weakly typed: they promote the kind, never the width.

    Args:
        operands: at least one; each a dtype (or its name), a tensor, or a Python number.

    Raises:
        DTypeError: no operand; an operand of another type; uint64 with a signed integer, which no integer
            dtype holds.

    Differs from: NumPy, where int64 with float32 gives float64; here float32, as in PyTorch. PyTorch ignores
        the width of 0-d tensors; here all tensors count.
    Source: Python array API standard 2024.12, section "Type Promotion Rules", for pairs of one kind.

    >>> tt.result_type(tt.int32, tt.float32)
    tinytensor.float32
    >>> tt.result_type(tt.float16, tt.bfloat16)
    tinytensor.float32
    >>> tt.result_type(tt.uint8, 3.5)
    tinytensor.float32
    """
    if not operands:
        raise DTypeError(
            "result_type: no operand",
            why="a result dtype needs at least one operand",
            fix="give at least one dtype, tensor or number",
        )
    dtypes: list[DType] = []
    scalars: list[type] = []
    for operand in operands:
        # A subclass, such as NumPy's float64, counts as its Python base class.
        number = next((t for t in _BY_PYTHON_TYPE if isinstance(operand, t)), None)
        if number is None:
            dtypes.append(_dtype_of(operand, "result_type"))
        else:
            scalars.append(number)
    return promote(*dtypes, scalars=tuple(scalars), what="result_type")


def can_cast(from_: object, to: object) -> bool:
    """Whether promotion can cast `from_` to `to`, that is, whether their common dtype is `to`.

    Returns:
        True if promote(from_, to) is `to`. Integers may go to any float, although large ones are rounded.

    >>> tt.can_cast(tt.int32, tt.float32), tt.can_cast(tt.float32, tt.int32)
    (True, False)
    """
    source, target = _dtype_of(from_, "can_cast"), as_dtype(to, "can_cast")
    try:
        return promote(source, target) is target
    except DTypeError:
        return False  # uint64 and signed integers have no common dtype


def isdtype(dtype: object, kind: object) -> bool:
    """Whether a dtype is of a kind.

    Args:
        kind: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating" or
            "numeric"; or a dtype, which means exactly this one; or a tuple, of which one must match.

    Source: Python array API standard 2024.12, isdtype.

    >>> tt.isdtype(tt.bfloat16, "real floating")
    True
    >>> tt.isdtype(tt.uint8, ("bool", tt.int64))
    False
    """
    dtype = as_dtype(dtype, "isdtype")
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, str):
        if kind in _KINDS:
            return dtype.kind in _KINDS[kind]
        near = nearest(kind, _KINDS)
        raise ArgumentError(
            f"isdtype: there is no kind {kind!r}",
            why=f"the kinds are {', '.join(_KINDS)}",
            fix=f"did you mean {near!r}?" if near else "use one of these, or a dtype such as tt.float32",
        )
    return dtype is as_dtype(kind, "isdtype")


@dataclass(frozen=True, slots=True)
class FloatInfo:
    """Limits of a float dtype, exact, as Python floats.

    Attributes:
        bits: size of one element.
        eps: distance from 1 to the next larger number.
        max: largest finite number.
        min: its negative.
        smallest_normal: smallest positive number with full precision.
        dtype: the float dtype.
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType

    @property
    def tiny(self) -> float:
        """NumPy's and PyTorch's name of `smallest_normal`."""
        return self.smallest_normal


@dataclass(frozen=True, slots=True)
class IntInfo:
    """Limits of an integer dtype.

    Attributes:
        bits: size of one element.
        max: largest number.
        min: smallest number.
        dtype: the integer dtype.
    """

    bits: int
    max: int
    min: int
    dtype: DType


_DIGITS = {float16: 10, bfloat16: 7, float32: 23, float64: 52}  # stored bits of the significand
_PARTS = {complex64: float32, complex128: float64}


def parts_of(dtype: DType) -> DType:
    """The dtype of the real and the imaginary part; a real dtype itself."""
    return _PARTS.get(dtype, dtype)


def finfo(dtype: object) -> FloatInfo:
    """Limits of a float dtype; for a complex dtype those of its parts.

    eps = 2^-p, smallest_normal = 2^(2 - 2^(e-1)), max = (2 - eps) * 2^(2^(e-1) - 1), for p bits of fraction
    and e bits of exponent.

    Returns:
        FloatInfo with bits, eps, max, min, smallest_normal and dtype.

    Source: IEEE 754-2019, table 3.5, for all but bfloat16, which is float32 without its last 16 bits.

    >>> tt.finfo(tt.bfloat16).eps
    0.0078125
    >>> tt.finfo("complex64").dtype
    tinytensor.float32
    """
    found = _dtype_of(dtype, "finfo")
    found = _PARTS.get(found, found)
    if not found.is_floating:
        raise DTypeError(
            f"finfo: {found} is not a float dtype",
            why="eps and the other limits are defined for floats only",
            fix=f"use tt.iinfo(tt.{found})" if found.rank == 1 else "use a float dtype, such as tt.float32",
        )
    digits, bits = _DIGITS[found], 8 * found.itemsize
    top = 2 ** (bits - digits - 2) - 1  # largest exponent
    eps = 2.0**-digits
    largest = (2.0 - eps) * 2.0**top
    return FloatInfo(bits, eps, largest, -largest, 2.0 ** (1 - top), found)


def iinfo(dtype: object) -> IntInfo:
    """Limits of an integer dtype.

    min = -2^(bits-1) and max = 2^(bits-1) - 1 if signed, else 0 and 2^bits - 1.

    Returns:
        IntInfo with bits, max, min and dtype.

    >>> tt.iinfo(tt.uint16).max
    65535
    """
    found = _dtype_of(dtype, "iinfo")
    if found.rank != 1:
        raise DTypeError(
            f"iinfo: {found} is not an integer dtype",
            why="these limits are defined for integers only",
            fix=f"use tt.finfo(tt.{found})" if found.is_inexact else "use an integer dtype, such as tt.int64",
        )
    bits = 8 * found.itemsize
    low = -(2 ** (bits - 1)) if found.kind == "int" else 0
    return IntInfo(bits, 2**bits - 1 + low, low, found)
