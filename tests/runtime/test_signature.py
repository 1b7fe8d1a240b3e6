"""Signatures read from .cu texts, names of instances, and arguments packed as exactly the declared types."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers.emulated import emulated
from tinytensor import dtypes
from tinytensor.errors import KernelError
from tinytensor.runtime.cpu.arrays import narrow
from tinytensor.runtime.signature import CPP, Packer, Signature, instance, parse

# ---- declarations ------------------------------------------------------------------------------------------

# text: what str() of its signature is
SPELLINGS = {
    "__global__ void k(float* x, int n) {}": "k(float* x, int n)",
    "__global__ void k() {}": "k()",
    "__global__ void k(void);": "k()",
    'extern "C" __global__ void k(const float* __restrict__ x){}': "k(const float* x)",
    'extern "C" { __global__ void k(float *x) {} }': "k(float* x)",
    "static __global__ void k(float * const x) {}": "k(float* x)",
    "void __global__ k(float const* x) {}": "k(float const* x)",
    "__global__ void\n__launch_bounds__(256)\nk(\n float* x, // a, b\n int n) {}": "k(float* x, int n)",
    "__global__ void k(float* x /* , int no */, int n) {}": "k(float* x, int n)",
    "__global__ void k(unsigned long long int a, unsigned, const long long) {}": (
        "k(unsigned long long int a, unsigned, const long long)"
    ),
    "template <class T> __global__ void k(T* x, T y) {}": "template <class T> k(T* x, T y)",
    "template<typename T,int N=4>\n__global__\nvoid k(T**x) {}": "template <class T, int N> k(T** x)",
    "template <class T, bool B = (3 > 2)> __global__ void k(Walk<T, 2>w) {}": (
        "template <class T, bool B> k(Walk<T, 2> w)"
    ),
    "template <class A, class B = View<A, 2>> __global__ void k(__grid_constant__ const View<A , 3> v) {}": (
        "template <class A, class B> k(const View<A, 3> v)"
    ),
    "__global__ void __attribute__((noinline)) k(acc_t<float> *x) {}": "k(acc_t<float>* x)",
    "namespace a { __global__ void k(int n) {} }": "k(int n)",
    "typedef float real;\n#define P float*\n__global__ void k(real* x, P y, uint z[], long n = 3) {}": (
        "k(float* x, float* y, uint* z, long n)"
    ),
}


@pytest.mark.parametrize(("text", "expected"), SPELLINGS.items())
def test_spellings(text, expected):
    assert [str(signature) for signature in parse(text).values()] == [expected]


def test_what_is_no_kernel():
    text = """
    // __global__ void a();
    /* __global__ void b(); */
    #define KERNEL(name) __global__ void \\
        name()
    const char* text = "__global__ void c();";
    __device__ void not_global(int n);
    struct S { int x; };
    __global__ void d(int n) { int my__global__ = n; }
    """
    assert list(parse(text)) == ["d"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ("__launch_bounds__(256)", "256"),
        ("__launch_bounds__(32 * (N + 1), 2)", "32 * (N + 1)"),
        ("__launch_bounds__(N < 3 ? 32 : 64, 2)", "N < 3 ? 32 : 64"),
        ("", None),
    ],
)
@pytest.mark.parametrize("place", ["{} __global__ void", "__global__ {} void", "__global__ void {}"])
def test_launch_bounds(bounds, expected, place):
    text = f"template <int N> {place.format(bounds)} k(int n) {{}}"
    assert parse(text)["k"].bounds == expected


@pytest.mark.parametrize("parameter", ["int& n", "float (*x)[4]"])
def test_parameters_that_cannot_be_passed(parameter):
    with pytest.raises(KernelError, match=r"kernel k: the parameter .* cannot be passed"):
        parse(f"__global__ void k({parameter}) {{}}")


@pytest.mark.parametrize(
    "text", ["__global__", "__global__ void k(int n", "template <class T __global__ void k() {}"]
)
def test_texts_that_end_early(text):
    with pytest.raises(KernelError, match=r"^kernel: "):
        parse(text)


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).map(lambda s: s + "_")
scalars = st.sampled_from(
    ["int", "unsigned", "long long", "float", "double", "bool", "T", "acc_t<T>", "Box<T, 3>"]
)
types = st.tuples(scalars, st.sampled_from(["", "*"])).map("".join)


@given(
    st.lists(st.tuples(types, names), max_size=8),
    st.lists(st.sampled_from([" ", "\n", "/**/", "\t"]), min_size=9),
)
def test_any_list_of_parameters(parameters, blanks):
    parts = [
        f"{blank}{kind}{blank or ' '}{name}" for blank, (kind, name) in zip(blanks, parameters, strict=False)
    ]
    text = f"template <class T> __global__ void kernel({','.join(parts)}{blanks[-1]}) {{}}"
    found = parse(text)["kernel"].parameters
    assert [(p.type, p.name) for p in found] == parameters


# ---- instances ---------------------------------------------------------------------------------------------


def test_names_of_instances():
    assert instance("k") == "k"
    assert (
        instance("k", (dtypes.float32, 2, "int", True, dtypes.bfloat16))
        == "k<float, 2, int, true, __nv_bfloat16>"
    )
    assert set(CPP) == {dtype for dtype in dtypes.ALL if dtype.kind != "complex"}
    with pytest.raises(KernelError, match=r'no kernels for complex128(.|\n)*x.to\("cpu"\)'):
        instance("k", (dtypes.complex128,))


def packer(parameters, *arguments, template=""):
    return Packer(parse(f"{template} __global__ void k({parameters}) {{}}")["k"], arguments)


def test_template_arguments_are_put_in():
    made = packer(
        "T* p, T t, acc_t<T> a, I i, acc_t<double> d, View<T, N> v, acc_t<T>* q, const T c",
        dtypes.float16,
        3,
        "int",
        template="template <class T, int N, class I = long long>",
    )
    assert made.name == "k<__half, 3, int>"
    assert made.kinds == ("pointer", "__half", "float", "int", "double", "struct", "pointer", "__half")


def test_defaults_of_templates():
    template = "template <class T, class I = long long, bool B = false>"
    assert packer("T t, I i", dtypes.int8, template=template).kinds == ("signed char", "long long")
    assert packer("T t, I i", dtypes.int8, "unsigned", template=template).kinds == ("signed char", "unsigned")
    for wrong in ((), (1, 2, 3, 4)):
        with pytest.raises(
            KernelError, match=rf"{len(wrong)} template arguments were given(.|\n)*give 1 to 3"
        ):
            packer("T t, I i", *wrong, template=template)


@pytest.mark.parametrize("dtype", CPP, ids=str)
def test_accumulators(dtype):
    kinds = packer("acc_t<T> a", dtype, template="template <class T>").kinds
    assert kinds == ("float" if dtype.narrow or dtype is dtypes.float32 else CPP[dtype],)


# ---- arguments ---------------------------------------------------------------------------------------------


def test_the_layout_of_arguments():
    made = packer(
        "bool b, short s, bool c, int i, float* p, float f, double d, Box x, char z, Box y, long long q"
    )
    data, offsets = made.pack([True, -2, False, 3, 2**63, 1.5, 2.5, b"123", -1, b"x" * 20, -5])
    assert offsets == (0, 2, 4, 8, 16, 24, 32, 48, 51, 64, 88)
    assert len(data) == 96
    expected = [(0, "?", True), (2, "h", -2), (4, "?", False), (8, "i", 3), (16, "Q", 2**63), (24, "f", 1.5)]
    expected += [(32, "d", 2.5), (48, "3s", b"123"), (51, "b", -1), (64, "20s", b"x" * 20), (88, "q", -5)]
    for offset, form, value in expected:
        assert struct.unpack_from("<" + form, data, offset) == (value,)


def test_pointers():
    made = packer("float* a, const void* b, int* c, float** d")
    buffer = emulated().alloc(4)
    data, _ = made.pack([buffer, SimpleNamespace(ptr=77), None, 0])
    assert struct.unpack("<4Q", data) == (buffer.ptr, 77, 0, 0)
    named = made.pointers([buffer, SimpleNamespace(ptr=77), None, 5])
    assert named == [("a", buffer.ptr), ("b", 77), ("c", 0), ("d", 5)]


def test_numbers_from_numpy_and_integers_for_floats():
    made = packer(
        "int i, float f, double d, bool b, float g, T h", dtypes.float16, template="template <class T>"
    )
    data, _ = made.pack([np.int64(-3), np.float64(0.1), 7, np.bool_(True), np.float32(2), 1])
    assert struct.unpack_from("<if", data) == (-3, struct.unpack("<f", struct.pack("<f", 0.1))[0])
    assert struct.unpack_from("<d?3xfe", data, 8) == (7.0, True, 2.0, 1.0)


@given(st.floats(width=32))
def test_bfloat16_is_rounded_to_nearest_even(value):
    data, _ = packer("T t", dtypes.bfloat16, template="template <class T>").pack([value])
    expected = np.zeros(1, np.uint16)
    narrow(np.array([value], np.float32), dtypes.bfloat16, expected)
    (found,) = struct.unpack("<H", data)
    nan = value != value
    assert (found & 0x7FFF) > 0x7F80 if nan else found == expected[0]


@given(
    st.integers(-(2**70), 2**70), st.sampled_from(["signed char", "short", "int", "long long"]), st.booleans()
)
def test_integers_fit_or_are_refused(value, kind, unsigned):
    bits = {"signed char": 8, "short": 16, "int": 32, "long long": 64}[kind]
    made = packer(f"{'unsigned ' + kind.removeprefix('signed ') if unsigned else kind} n")
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if low <= value <= high:
        assert int.from_bytes(made.pack([value])[0], "little", signed=not unsigned) == value
    else:
        with pytest.raises(KernelError, match="an int within its range fits"):
            made.pack([value])


class Odd:
    """Claims an address that is no integer."""

    ptr = "0x10"


# parameters, arguments, what the message names
WRONG = [
    ("int n", [], "0 arguments for 1 parameter"),
    ("int n", [1, 2], r"2 arguments for 1 parameter\n  why: the kernel is k\(int n\); given: int, int"),
    ("int n", [1.0], "1.0 is not valid for `int n`"),
    ("int n", ["1"], "'1' is not valid for `int n`"),
    ("int n", [None], "NoneType is not valid for `int n`"),
    (
        "int n",
        [2**31],
        "2147483648 is not valid for `int n`\n  why: it is packed as int; an int within its range",
    ),
    ("unsigned n", [-1], "-1 is not valid for `unsigned n`"),
    ("long long n", [2**63], "9223372036854775808 is not valid for `long long n`"),
    ("float x", ["1"], "'1' is not valid for `float x`"),
    ("float x", [None], "NoneType is not valid for `float x`"),
    ("float x", [1j], "complex is not valid for `float x`"),
    ("float x", [1e39], r"1e\+39 is not valid for `float x`"),
    ("float x", [10**400], "an int of 1329 bits is not valid for `float x`"),
    ("double x", [10**5000], "an int of 16610 bits is not valid for `double x`"),
    ("bool b", [1], "1 is not valid for `bool b`\n  why: it is packed as bool; True or False fits"),
    ("bool b", [None], "NoneType is not valid for `bool b`"),
    ("float* x", [1.0], r"1.0 is not valid for `float\* x`"),
    ("float* x", [True], r"True is not valid for `float\* x`"),
    ("float* x", [-1], r"-1 is not valid for `float\* x`"),
    ("float* x", [2**64], r"18446744073709551616 is not valid for `float\* x`"),
    (
        "float* x",
        [np.zeros(3)],
        r"ndarray is not valid for `float\* x`\n  why: it is packed as pointer; a Buffer",
    ),
    ("float* x", [tt.zeros(3)], r"Tensor is not valid for `float\* x`"),
    ("float* x", [Odd()], r"Odd is not valid for `float\* x`"),
    ("Box x", [5], "5 is not valid for `Box x`\n  why: it is packed as struct; bytes fit"),
    ("Box x", [(1, 2)], "tuple is not valid for `Box x`"),
    ("int a, float b, int c", [1, 2.0, 3.5], "3.5 is not valid for `int c`"),
]


@pytest.mark.parametrize(("parameters", "args", "named"), WRONG)
def test_wrong_arguments(parameters, args, named):
    with pytest.raises(KernelError, match=f"^kernel k: {named}"):
        packer(parameters).pack(args)


def test_half_that_overflows():
    with pytest.raises(KernelError, match=r"70000\.0 is not valid for `T t`"):
        packer("T t", dtypes.float16, template="template <class T>").pack([70000.0])


def test_signatures_are_values():
    text = "template <class T> __global__ void k(T* x) {}"
    first, second = parse(text)["k"], parse(text)["k"]
    assert isinstance(first, Signature)
    assert first == second
    assert hash(first) == hash(second)
