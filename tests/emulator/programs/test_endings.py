"""Kernels that abort, or never end: told with their place, as errors of CUDA, and the program goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.programs import needs_compiler, place, placed, ran

pytestmark = needs_compiler

PROGRAM = r"""
#include <cassert>
#include <cooperative_groups.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
__global__ void spin(volatile int* flag) {
    if (threadIdx.x == 3)
        while (*flag == 0) {}  // no thread writes it
    flag[1] = 1;
}
__global__ void work(double* y) {  // long, but each thread ends
    double x = threadIdx.x;
    for (int i = 0; i < 3000000; i++) x = x * 0.999 + 0.5;
    y[threadIdx.x] = x;
}
__global__ void give_up(int* p) {
    if (threadIdx.x == 5) abort();
    p[threadIdx.x] = 1;
}
__global__ void half(int* p) {  // a name of cuda_fp16.h, which the program does not include
    if (blockIdx.x == 1) __trap();
}
__global__ void claim(int* p) {
    assert(threadIdx.x < 7);
}
__global__ void meet(int* p) {
    const auto grid = cooperative_groups::this_grid();
    p[blockIdx.x] = grid.is_valid();
    if (p[2] == 0) return;
    grid.sync();
}
int main(int, char** arguments) {
    int* p;
    cudaMalloc(&p, 1024);
    cudaMemset(p, 0, 1024);
    const char* which = arguments[1];
    if (!strcmp(which, "spin")) spin<<<2, 8>>>(p);
    if (!strcmp(which, "work")) work<<<1, 128>>>((double*)p);
    if (!strcmp(which, "abort")) give_up<<<2, 8>>>(p);
    if (!strcmp(which, "trap")) half<<<2, 8>>>(p);
    if (!strcmp(which, "assert")) claim<<<2, 8>>>(p);
    if (!strcmp(which, "grid")) {
        int valid[3] = {1, 1, 0}, more[3] = {0, 0, 1};
        meet<<<2, 8>>>(p);  // no block waits
        cudaMemcpy(valid, p, 8, cudaMemcpyDeviceToHost);
        printf("%d %d\n", valid[0], valid[1]);
        cudaMemcpy(p, more, sizeof more, cudaMemcpyHostToDevice);
        void* given[] = {&p};
        puts(cudaGetErrorName(cudaLaunchCooperativeKernel(meet, dim3(2), dim3(8), given)));
        meet<<<2, 8>>>(p);
    }
    puts(cudaGetErrorName(cudaDeviceSynchronize()));
    if (!strcmp(which, "host")) abort();
}
"""


@pytest.mark.parametrize(
    ("which", "error", "kind", "line", "text"),
    [
        ("spin", "cudaErrorLaunchTimeout", "endless wait", "while (*flag == 0) {}", "thread (3, 0, 0)"),
        ("abort", "cudaErrorLaunchFailure", "abort", "if (threadIdx.x == 5) abort();", "thread (5, 0, 0)"),
        ("trap", "cudaErrorLaunchFailure", "trap", "if (blockIdx.x == 1) __trap();", "block (1, 0, 0)"),
        (
            "grid",
            "0 0\ncudaSuccess\ncudaErrorLaunchFailure",
            "grid barrier",
            "grid.sync();",
            "not cooperative",
        ),
        ("assert", "cudaErrorAssert", "failed assertion", "assert(threadIdx.x < 7);", "thread (7, 0, 0)"),
    ],
)
def test_a_kernel_that_does_not_end_well(monkeypatch, which, error, kind, line, text):
    monkeypatch.setenv("TINYTENSOR_WATCHDOG", "0.4")
    run = ran(PROGRAM, which)
    assert (run.output, run.code) == (error + "\n", 0)
    (finding,) = run.report.findings
    assert (finding.kind, finding.place) == (kind, place(PROGRAM, line))
    assert text in finding.text
    assert "in block (" in finding.text
    assert "/" not in finding.text  # names of files without folders


def test_long_work_and_abort_of_the_host_are_left_alone(monkeypatch):
    monkeypatch.setenv("TINYTENSOR_WATCHDOG", "0.4")
    run = ran(PROGRAM, "work")
    assert (run.output, run.report.findings) == ("cudaSuccess\n", [])
    run = ran(PROGRAM, "host")
    assert run.code == 128 + 6  # SIGABRT


def test_kernels_launched_from_python_do_not_end_it(tmp_path):
    (tmp_path / "kernels.cu").write_text(
        "#include <cstdlib>\n"
        "__global__ void spin(volatile int* flag) { while (*flag == 0) {} }\n"
        "__global__ void give_up(int* p) { if (threadIdx.x == 2) abort(); p[threadIdx.x] = 1; }\n"
    )
    script = (
        "import tinytensor as tt\n"
        "for name in ('spin', 'give_up'):\n"
        "    p = tt.zeros(8, dtype=tt.int32, device='emulated')\n"
        f"    kernel = tt.cuda.kernel({str(tmp_path / 'kernels.cu')!r}, name)\n"
        "    try:\n"
        "        kernel[1, 4](p)\n"
        "    except tt.KernelError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TINYTENSOR_WATCHDOG": "0.4"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "endless wait: thread (0, 0, 0)" in done.stdout
    assert "thread (2, 0, 0)" in done.stdout


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_command_ends_the_program(ending, tmp_path):
    temporary = tmp_path / "temporary"
    source = placed(
        "#include <cstdio>\n#include <unistd.h>\n"
        'int main() { printf("%d %d\\n", getpid(), cudaFree(0)); fflush(stdout); for (;;) pause(); }\n'
    )
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "tinytensor", "run", str(source)],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        program = int(command.stdout.readline().split()[0])
        command.send_signal(ending)
        assert command.wait() == (128 + ending if ending == signal.SIGTERM else -ending)
        assert command.stdout.read() == ""  # until the program has ended
    if ending == signal.SIGTERM:
        assert list(temporary.iterdir()) == []
    until = time.monotonic() + 60
    while Path(f"/proc/{program}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{program}").exists()
