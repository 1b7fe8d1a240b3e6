"""What once went wrong without a word, or took the process with it."""

import os

import pytest

import tinytensor as tt

ALIAS = "using real = TYPE;\n__global__ void k(real* y, const real* x) { y[threadIdx.x] = x[threadIdx.x]; }"
VECTOR = "__global__ void k(float2* y, const void* x) { y[threadIdx.x] = ((const float2*)x)[threadIdx.x]; }"
DONE = """
__device__ unsigned done = 0;
__global__ void total(int* y, int* partial, int n) {
    int s = 0;
    for (int i = 0; i < n; i++) s += i % 2;
    partial[blockIdx.x] = s;
    __threadfence();
    if (atomicInc(&done, gridDim.x - 1) < gridDim.x - 1) return;
    s = 0;
    for (int b = 0; b < gridDim.x; b++) s += partial[b];
    y[0] = s;
}"""
STACK = """
__global__ void large(float* y, int n) {
    volatile float a[40000];
    a[n] = 1;
    y[0] = a[n];
}"""


def test_another_name_of_a_type_is_that_type() -> None:
    k = tt.cuda.kernel(ALIAS.replace("TYPE", "float"))
    y, x = tt.zeros(2, device="emulated"), tt.ones(2, device="emulated")
    k[1, 2](y, x)
    assert y.tolist() == [1.0, 1.0]
    with pytest.raises(tt.DTypeError, match=r"for the parameter 'x'\n.*declares it as float"):
        k[1, 2](y, tt.ones(2, dtype=tt.int32, device="emulated"))


def test_a_type_of_the_source_is_not_taken_for_a_dtype() -> None:
    k = tt.cuda.kernel(ALIAS.replace("using real = TYPE", "struct real { float at; }"))
    y, x = tt.zeros(2, device="emulated"), tt.ones(2, device="emulated")
    with pytest.raises(tt.DTypeError, match=r"parameter 'y'[\s\S]*tt\.cuda\.pointer"):
        k[1, 2](y, x)
    k[1, 2](tt.cuda.pointer(y), tt.cuda.pointer(x))
    assert y.tolist() == [1.0, 1.0]


def test_vectors_and_void_take_any_dtype() -> None:
    y, x = tt.zeros(4, device="emulated"), tt.arange(4, dtype=tt.float32, device="emulated")
    tt.cuda.kernel(VECTOR)[1, 2](y, x)
    assert y.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_writes_through_a_pointer_are_seen_by_autograd() -> None:
    k = tt.cuda.kernel("__global__ void fill(float* y) { y[threadIdx.x] = 100; }")
    w = tt.ones(4, device="emulated", requires_grad=True)
    m = w * 2.0
    loss = (m * m).sum()
    k[1, 4](tt.cuda.pointer(m.detach()))
    with pytest.raises(tt.GradError, match="overwritten by kernel fill"):
        loss.backward()
    with pytest.raises(tt.GradError):
        k[1, 4](tt.cuda.pointer(w))


def test_global_variables_are_shared_by_all_blocks() -> None:
    k = tt.cuda.kernel(DONE)
    y, partial = (
        tt.zeros(1, dtype=tt.int32, device="emulated"),
        tt.zeros(64, dtype=tt.int32, device="emulated"),
    )
    for _ in range(3):
        y.copy_(tt.zeros(1, dtype=tt.int32))
        k[64, 1](y, partial, 100_000)
        assert y.item() == 64 * 50_000


@pytest.mark.parametrize("at", [0, 20_000, 39_999])
def test_large_local_arrays_do_not_reach_the_next_stack(at: int) -> None:
    y = tt.zeros(1, device="emulated")
    with pytest.raises(tt.KernelError, match="stack overflow"):
        tt.cuda.kernel(STACK)[1, 8](y, at)


@pytest.mark.parametrize("blocks", [-1, 1.5, "a", 2**40])
def test_a_check_that_cannot_begin_leaves_nothing_on(blocks: object) -> None:
    with pytest.raises(tt.ArgumentError, match="blocks="), tt.cuda.check(blocks=blocks):  # type: ignore[arg-type]
        pass
    k = tt.cuda.kernel("__global__ void k(float* y, int n) { y[n] = 1; }")
    with pytest.raises(tt.KernelError, match="illegal memory access"):
        k[1, 1](tt.zeros(64, device="emulated"), 1 << 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_inherit_a_check_or_a_lock() -> None:
    k = tt.cuda.kernel("__global__ void k(float* y, int n) { y[n] = 1; }")
    x = tt.zeros(64, device="emulated")
    k[1, 1](x, 0)
    with tt.cuda.check():
        child = os.fork()
        if child == 0:
            try:
                k[1, 1](tt.zeros(64, device="emulated"), 1 << 20)
            except tt.KernelError:
                os._exit(7)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
