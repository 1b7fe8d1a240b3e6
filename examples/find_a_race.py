"""A missing barrier: on a GPU the sum is wrong now and then; the checker names both lines."""

import tinytensor as tt

SOURCE = """
__global__ void sum(float* y, const float* x) {
    __shared__ float part[256];
    const int t = threadIdx.x;
    part[t] = x[t];
    for (int n = 128; n > 0; n /= 2) {
        BARRIER
        if (t < n) part[t] += part[t + n];
    }
    if (t == 0) y[0] = part[0];
}
"""
x, y = tt.arange(256, dtype=tt.float32, device="emulated"), tt.zeros(1, device="emulated")

with tt.cuda.check() as report:
    tt.cuda.kernel(SOURCE.replace("BARRIER", ""))[1, 256](y, x)
print(report)
assert "shared race" in [finding.kind for finding in report.findings]

with tt.cuda.check() as report:
    tt.cuda.kernel(SOURCE.replace("BARRIER", "__syncthreads();"))[1, 256](y, x)
print(report)
assert not report.findings
assert y.item() == sum(range(256))
