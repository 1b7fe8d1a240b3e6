"""Translation of launches and shared variables in preprocessed text."""

import pytest

from tinytensor.emulator.programs.translation import translated
from tinytensor.errors import KernelError


@pytest.mark.parametrize(
    ("text", "kernel", "configuration", "arguments"),
    [
        ("if (x) k<<<1, 2>>>(a, f(b, c));", "k", "1, 2", "a, f(b, c)"),
        ("else ns::k<T, 4><<<dim3(1, 2), n >> 2, sizeof(T) * 2, s>>>(a);", "ns::k<T, 4>",
         "dim3(1, 2), n >> 2, sizeof(T) * 2, s", "a"),
        ("o->f<<<1, 1>>>();", "o->f", "1, 1", ""),
        ("(*f)<<<1, 1>>>(x);", "(*f)", "1, 1", "x"),
        ("table[i]<<<1, 1>>>(x);", "table[i]", "1, 1", "x"),
        ("k<is_same<A, B>::value, (A > 3)><<<g, b>>>(x);", "k<is_same<A, B>::value, (A > 3)>", "g, b", "x"),
        ("return ::k<<<g, b>>>(x);", "::k", "g, b", "x"),
        ("y < z; N::A<B>::k<C><<<g, b>>>(x);", "N::A<B>::k<C>", "g, b", "x"),
        ("k<<<g, b>>>(NULL, \"a)\", ')');", "k", "g, b", "nullptr, \"a)\", ')'"),
    ],
)  # fmt: skip
def test_launches(text, kernel, configuration, arguments):
    call = f"[=](auto... tt_arguments) {{ {kernel}(tt_arguments...); }}"
    launch = f"TT_LAUNCH(({kernel}), {configuration}).with({arguments}).run({call});"
    start = text.index(kernel + "<<<")
    assert translated(text) == text[:start] + launch


def test_zeros_among_the_arguments_can_be_null_pointers():
    call = "k(tt_arguments...)"
    zeros = f"tt_program::WithZeros{{[=](auto... tt_arguments) -> decltype({call}) {{ {call}; }}}}"
    launch = "TT_LAUNCH((k), 1, 2).with"
    assert translated("k<<<1, 2>>>(p, 0);") == f"{launch}(p, tt_zero()).run({zeros});"
    plain = f"[=](auto... tt_arguments) {{ {call}; }}"
    for arguments in ("f(p, 0, q)", "f<1, 0, 2>()", "p[0]", "10"):
        assert translated(f"k<<<1, 2>>>({arguments});") == f"{launch}({arguments}).run({plain});"


def test_lists_in_braces_get_the_types_of_the_parameters():
    call = "[=](auto... tt_arguments) { k(tt_arguments...); }"
    assert translated("k<<<1, 2>>>(p, {1, 2});") == f"TT_LAUNCH((k), 1, 2).of(k)(p, {{1, 2}}).run({call});"


def test_addresses_of_kernels_note_their_parameters():
    kernels = "TT_GLOBAL void k(int* p) {}\ntemplate <class T> static TT_GLOBAL void f(T x) {}\n"
    uses = "a = (void *)k; b = (const void*)&ns::f<int, (3 > 2)>; c = static_cast<void*>(k); d = (void*)kk;"
    expected = (
        "a = (void *)TT_KERNEL(k); b = (const void*)TT_KERNEL(&ns::f<int, (3 > 2)>); "
        "c = static_cast<void*>(TT_KERNEL(k)); d = (void*)kk;"
    )
    assert translated(kernels + uses) == kernels + expected
    for kernel in ("(void*)k", "k", "&k"):
        launch = f"cudaLaunchKernel({kernel}, g, b, a);"
        address = kernel.removeprefix("(void*)")
        assert translated(kernels + launch) == kernels + f"cudaLaunchKernel(TT_KERNEL({address}), g, b, a);"
    assert translated("cudaLaunchKernel((void*)pointer, g, b, a);") == "cudaLaunchKernel(pointer, g, b, a);"


def test_lines_stay_where_they_were():
    text = "int a;\nk\n  <<<1,\n     2>>>\n  (a,\n   b);\nextern __shared__\nfloat s[];\nint last;\n"
    assert translated(text).split("\n").index("int last;") == text.split("\n").index("int last;")


def test_strings_and_characters_are_left_alone():
    text = 'puts("k<<<1, 2>>>(x) __shared__"); char c = \'<\'; R"(k<<<1>>>())";'
    assert translated(text) == text


def test_dynamic_shared_memory_by_its_scope():
    inside = "void k() { extern __shared__ __attribute__((aligned(16))) unsigned char s[]; }"
    assert "TT_DYNAMIC(s, unsigned char);" in translated(inside)
    assert "TT_DYNAMIC_FILE(s, float);" in translated("namespace a { extern __shared__ float s[]; }")
    assert translated("void k() { extern double __shared__ s[]; }") == "void k() { TT_DYNAMIC(s, double); }"
    rows = "typedef half tt_row_s[N][8]; TT_DYNAMIC(s, tt_row_s);"
    assert translated("void k() { extern __shared__ half s[][N][8]; }") == f"void k() {{ {rows} }}"
    assert translated("static __shared__ int n;") == "TT_SHARED_FILE int n;"
    assert translated("void k() { __shared__ int n; }") == "void k() { TT_SHARED int n; }"
    aligned = "__shared__ alignas(alignof(float4)) float a[4][4];"
    assert translated(aligned) == "alignas(alignof(float4)) TT_SHARED_FILE float a[4][4];"


def test_a_launch_that_is_not_complete_is_named():
    with pytest.raises(KernelError, match=r"my\.cu:8: this launch is not complete"):
        translated('# 7 "my.cu"\n\nk<<<1, 2;')


def test_a_launched_function_that_is_no_kernel_is_refused():
    text = "void add(int* x) {}\nint main() { add<<<1, 32>>>(nullptr); }"
    with pytest.raises(KernelError, match="add is launched, but is no kernel") as raised:
        translated(text)
    assert "__global__ void add" in str(raised.value)
    assert "TT_LAUNCH((add), 1, 32)" in translated("TT_GLOBAL " + text)
    pointer = "void apply(void (*add)(int*)) { add<<<1, 32>>>(nullptr); }"
    assert "TT_LAUNCH((add), 1, 32)" in translated(pointer)
