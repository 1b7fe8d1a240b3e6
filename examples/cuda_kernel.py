"""Your own CUDA kernel. Without a GPU it runs on the CPU, on the device "emulated", here with all checks."""

import numpy as np

import tinytensor as tt

axpy = tt.cuda.kernel("""
__global__ void axpy(float* y, const float* x, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}
""")

n = 1000
device = "cuda" if tt.cuda.is_available() else "emulated"
x, y = tt.randn(n, device=device), tt.zeros(n, device=device)

with tt.cuda.check() as report:
    axpy[(n + 255) // 256, 256](y, x, 2.0, n)  # [blocks, threads of a block](arguments)

print(report)
assert not report.findings
assert np.allclose(y.cpu().numpy(), 2 * x.cpu().numpy())
