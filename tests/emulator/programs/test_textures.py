"""Textures of programs, by the CUDA programming guide."""

from pathlib import Path

from tests.helpers.programs import needs_compiler, ran

pytestmark = needs_compiler

PROGRAM = r"""
#include <cstdio>
#include <vector>
__global__ void plane(float* to, cudaTextureObject_t t) {
    const float x[] = {0.25f, 0.5f, 0.5f, 1.25f, -0.25f}, y[] = {0.25f, 0.25f, 0.5f, 0.75f, 0.25f};
    to[threadIdx.x] = tex2D<float>(t, x[threadIdx.x], y[threadIdx.x]);
}
cudaTextureObject_t object(size_t width, size_t height) {
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    std::vector<float> values(width * height);
    for (size_t i = 0; i < values.size(); i++) values[i] = i;
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    if (cudaMallocArray(&resource.res.array.array, &format, width, height)) return 0;
    cudaMemcpy2DToArray(resource.res.array.array, 0, 0, values.data(), width * 4, width * 4, height,
                        cudaMemcpyHostToDevice);
    cudaTextureDesc how = {};
    how.normalizedCoords = 1, how.filterMode = cudaFilterModeLinear;
    how.addressMode[0] = cudaAddressModeWrap, how.addressMode[1] = cudaAddressModeClamp;
    cudaTextureObject_t made = 0;
    cudaCreateTextureObject(&made, &resource, &how, nullptr);
    return made;
}
int main() {
    float* y;
    cudaMallocManaged(&y, 5 * sizeof *y);
    plane<<<1, 5>>>(y, object(2, 2));
    cudaDeviceSynchronize();
    for (int i = 0; i < 5; i++) printf("%g ", y[i]);
}
"""


def test_a_plane_is_read_between_its_elements(tmp_path: Path) -> None:
    # Elements 0 1 / 2 3 with centers at 0.25 and 0.75; along x it wraps, along y it does not.
    assert ran(PROGRAM, tmp_path).output.split() == ["0", "0.5", "1.5", "2", "1"]


# Each line stores a struct, which the compiler could let the function write, unwatched.
STRUCTS = r"""
#include <cstdlib>
__global__ void read(float4* y, cudaTextureObject_t t, int which) {
    const int i = threadIdx.x;
    if (which == 0) y[i] = tex1Dfetch<float4>(t, i);
    if (which == 1) y[i] = tex1D<float4>(t, i);
    if (which == 2) y[i] = tex2D<float4>(t, i, 0);
}
__global__ void sum(float* total, const float4* y) {
    for (int i = 0; i < 8; i++) *total += y[i].x + y[i].w;
}
int main(int, char** arguments) {
    const int which = atoi(arguments[1]), n = atoi(arguments[2]);
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float4>();
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    cudaMallocArray(&resource.res.array.array, &format, 8, 1);
    const float4 ones[8] = {{1, 1, 1, 1}};
    cudaMemcpyToArray(resource.res.array.array, 0, 0, ones, sizeof ones, cudaMemcpyHostToDevice);
    cudaTextureDesc how = {};
    cudaTextureObject_t t;
    cudaCreateTextureObject(&t, &resource, &how, nullptr);
    float4* y;
    float* total;
    cudaMalloc(&y, n * sizeof *y), cudaMalloc(&total, 4), cudaMemset(total, 0, 4);
    read<<<1, 8>>>(y, t, which), sum<<<1, 1>>>(total, y);
    cudaFree(y), cudaFree(total), cudaFreeArray(resource.res.array.array);
}
"""


def test_structs_of_textures_are_stored_under_a_check(tmp_path: Path) -> None:
    first = next(i for i, line in enumerate(STRUCTS.splitlines(), 1) if "which == 0" in line)
    for which in range(3):
        assert not ran(STRUCTS, tmp_path, str(which), "8", check=True).report.findings
        finding = ran(STRUCTS, tmp_path, str(which), "7", check=True).report.findings[0]
        assert (finding.kind, finding.place) == ("out of bounds", f"program.cu:{first + which}")
        assert "16-byte write at byte 112" in finding.text
