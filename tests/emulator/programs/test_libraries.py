"""cuRAND in kernels, and Thrust, against published numbers, NumPy and hand-computed values."""

import numpy as np
import pytest

from tests.helpers.programs import needs_compiler, ran

pytestmark = needs_compiler

RANDOM = r"""
#include <cstdio>
#include <curand.h>
#include <curand_kernel.h>

__global__ void xorwow(float* y) {
    curandState s;
    curand_init(1234, threadIdx.x, 0, &s);
    y[threadIdx.x] = curand_uniform(&s);
}
template <class State>
__global__ void words(unsigned* u, unsigned long long seed, unsigned long long offset) {
    State s;
    curand_init(seed, 0, offset, &s);
    for (int i = 0; i < 8; i++) u[i] = curand(&s);
}
__global__ void normal(float* y, double* z, int n) {
    curandStatePhilox4_32_10_t s;
    curand_init(7, threadIdx.x, 0, &s);
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        y[i] = curand_normal(&s), z[i] = curand_normal_double(&s);
}
template <class T>
static void show(const char* format, const T* p, int n) {
    cudaDeviceSynchronize();
    for (int i = 0; i < n; i++) printf(format, p[i]);
    puts("");
}
int main() {
    unsigned* u;
    float* y;
    double* z;
    const int n = 4096;
    cudaMallocManaged(&u, n * sizeof *u), cudaMallocManaged(&y, n * sizeof *y);
    cudaMallocManaged(&z, n * sizeof *z);
    xorwow<<<1, 10>>>(y), show("%.4f ", y, 10);
    words<curandStatePhilox4_32_10_t><<<1, 1>>>(u, 0, 0), show("%08x ", u, 4);
    words<curandStatePhilox4_32_10_t><<<1, 1>>>(u, ~0ull, 3), show("%u ", u, 8);
    words<curandState><<<1, 1>>>(u, 99, 1ull << 40), show("%u ", u, 8);
    normal<<<1, 32>>>(y, z, n), show("%.6g ", y, n), show("%.6g ", z, n);
    curandGenerator_t g;
    const int sobol = curandCreateGenerator(&g, CURAND_RNG_QUASI_SOBOL32);
    printf("%d %d\n", sobol, curandCreateGenerator(&g, CURAND_RNG_PSEUDO_DEFAULT));
}
"""

THRUST = r"""
#include <iostream>
#include <thrust/for_each.h>
#include <thrust/scatter.h>
#include <thrust/copy.h>
#include <thrust/device_vector.h>
#include <thrust/host_vector.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <thrust/unique.h>

__global__ void twice(float* p, int n) {
    if (threadIdx.x < n) p[threadIdx.x] *= 2;
}
template <class V>
void show(const V& v) {
    for (size_t i = 0; i < v.size(); i++) std::cout << v[i] << " ";
    std::cout << "\n";
}
struct Falling {
    template <class T>
    bool operator()(const T& a, const T& b) const { return thrust::get<0>(a) > thrust::get<0>(b); }
};
// What each algorithm writes of `to`, which has 12 elements; then a kernel reads the first ones.
__global__ void sum(const int* p, int n, int* total) {
    for (int i = 0; i < n; i++) *total += p[i];
}
void written() {
    thrust::device_vector<int> x(6, 1), places(6), total(1, 0);
    for (int i = 0; i < 6; i++) places[i] = 2 * i;
    const auto read = [&](const int* p, int n) {
        sum<<<1, 1>>>(p, n, thrust::raw_pointer_cast(total.data()));
    };
    const auto fresh = [] {
        int* p;
        cudaMalloc(&p, 12 * sizeof *p);
        return thrust::device_ptr<int>(p);
    };
    auto to = fresh(), other = fresh();
    auto both = thrust::make_zip_iterator(thrust::make_tuple(to, other));
    auto from = thrust::make_zip_iterator(thrust::make_tuple(x.begin(), places.begin()));
    thrust::copy(from, from + 6, both);
    read(to.get(), 6), read(other.get(), 6);  // 6 + 30
    cudaFree(to.get()), to = fresh();
    thrust::scatter(x.begin(), x.end(), places.begin(), to);
    int* p = to.get();
    thrust::for_each(thrust::device, thrust::make_counting_iterator(0), thrust::make_counting_iterator(6),
                     [=] __device__(int i) { p[2 * i + 1] = 2; });
    read(p, 12);  // 6 + 12
    cudaFree(to.get()), to = fresh();
    thrust::exclusive_scan(x.begin(), x.end(), other + 6);
    read(other.get(), 12);  // 30 + 15
    thrust::copy_if(x.begin(), x.begin() + 1, to, thrust::identity<int>());
    printf("%d\n", (int)total[0]);
    sum<<<1, 1>>>(to.get(), 2, thrust::raw_pointer_cast(total.data()));  // the second one was not written
    cudaFree(to.get()), cudaFree(other.get());
}
int main(int count, char**) {
    if (count > 1) return written(), 0;
    using namespace thrust::placeholders;
    thrust::host_vector<float> h(5);
    thrust::sequence(h.begin(), h.end());
    thrust::device_vector<float> x = h, y(5, 1.0f);
    thrust::transform(x.begin(), x.end(), y.begin(), y.begin(), 3 * _1 + _2);
    twice<<<1, 32>>>(thrust::raw_pointer_cast(y.data()), 5);
    y[1] = y[4] + 0.5f;
    show(y);
    thrust::device_vector<int> keys{5, 3, 5, 1, 3, 3}, values(6), k(6), v(6);
    thrust::sequence(values.begin(), values.end());
    thrust::sort_by_key(keys.begin(), keys.end(), values.begin());
    show(keys), show(values);
    auto end = thrust::reduce_by_key(keys.begin(), keys.end(), values.begin(), k.begin(), v.begin());
    k.resize(end.first - k.begin()), v.resize(end.second - v.begin());
    show(k), show(v);
    thrust::exclusive_scan(v.begin(), v.end(), v.begin());
    show(v);
    auto zip = thrust::make_zip_iterator(thrust::make_tuple(values.begin(), keys.begin()));
    thrust::sort(zip, zip + 6, Falling());
    show(values), show(keys);
    int* raw;
    cudaMalloc(&raw, 10 * sizeof(int));
    thrust::sequence(thrust::device, raw, raw + 10);
    thrust::device_ptr<int> p(raw);
    k.erase(thrust::copy_if(p, p + 10, k.begin(), _1 % 4 == 1), k.end());
    show(k);
    auto one = thrust::make_counting_iterator(1);
    auto squares = thrust::make_transform_iterator(one, thrust::square<int>());
    std::cout << thrust::reduce(squares, squares + 4) << " " << thrust::max_element(p, p + 10) - p << " "
              << thrust::count_if(p, p + 10, _1 > 6) << " "
              << thrust::reduce(p, p + 10, 1000, thrust::minimum<int>()) << "\n";
    cudaFree(raw);
}
"""


# What each algorithm writes of `to`, which has 12 elements; then a kernel reads the first ones.
@pytest.fixture(scope="module")
def numbers():
    return ran(RANDOM).output.splitlines()


def test_xorwow_gives_the_numbers_of_curand(numbers):
    # Of the example in cuRAND's guide: seed 1234, ten numbers, each of its own subsequence.
    expected = "0.1455 0.8202 0.5504 0.2948 0.9147 0.8690 0.3219 0.7829 0.0113 0.2855"
    assert numbers[0].split() == expected.split()


def test_xorwow_skips_ahead_as_its_steps_do(numbers):
    def step(v):
        t = v[0] ^ v[0] >> 2
        return [*v[1:], (v[4] ^ v[4] << 4 ^ t ^ t << 1) & 0xFFFFFFFF]

    # 2**40 steps by squaring the matrix of one step, over GF(2).
    bits = np.zeros((160, 160), np.uint8)
    for i in range(160):
        v = step([1 << i % 32 if word == i // 32 else 0 for word in range(5)])
        bits[i] = [v[j // 32] >> j % 32 & 1 for j in range(160)]
    for _ in range(40):
        bits = (bits.astype(int) @ bits % 2).astype(np.uint8)
    t0, t1 = 1099087573 * (99 ^ 0xAAD26B49) % 2**32, 2591861531 * 0xF7DCEFDD % 2**32
    start = [123456789 + t0, 362436069 ^ t0, 521288629 + t1, 88675123 ^ t1, 5783321 + t0]
    row = np.array([start[i // 32] >> i % 32 & 1 for i in range(160)])
    v = [sum(int(b) << i for i, b in enumerate(part)) for part in (row @ bits % 2).reshape(5, 32)]
    expected, d = [], 6615241 + t1 + t0 + 362437 * 2**40
    for _ in range(8):
        v, d = step(v), d + 362437
        expected.append((v[4] + d) % 2**32)
    assert [int(word) for word in numbers[3].split()] == expected


def test_philox_gives_the_known_answers(numbers):
    assert numbers[1].split() == [
        "6627e8d5",
        "e169c58d",
        "bc57ac4c",
        "9b00dbd8",
    ]  # of Random123's kat_vectors

    def philox(counter):
        c, k = [counter, 0, 0, 0], [0xFFFFFFFF, 0xFFFFFFFF]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [b >> 32 ^ c[1] ^ k[0], b % 2**32, a >> 32 ^ c[3] ^ k[1], a % 2**32]
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        return c

    words = [word for counter in range(3) for word in philox(counter)]
    assert [int(word) for word in numbers[2].split()] == words[3:11]


def test_normal_numbers_are_normal(numbers):
    for line in numbers[4:6]:
        values = np.array(line.split(), float)
        assert abs(values.mean()) < 4 / 64  # four standard errors of 4,096 numbers
        assert abs(values.var() - 1) < 4 * np.sqrt(2) / 64
        assert abs(np.mean(np.abs(values) < 1) - 0.6827) < 4 * 0.4654 / 64


def test_quasi_random_generators_are_refused(numbers):
    assert numbers[6] == "103 0"  # CURAND_STATUS_TYPE_ERROR


def test_thrust():
    run = ran(THRUST, check=True)
    assert run.output.splitlines() == [
        "2 26.5 14 20 26 ",  # 2 * (3 x + 1), and the second one replaced
        "1 3 3 3 5 5 ",
        "3 1 4 5 0 2 ",
        "1 3 5 ",
        "3 10 2 ",
        "0 3 13 ",
        "5 4 3 2 1 0 ",
        "3 3 1 5 3 5 ",
        "1 5 9 ",
        "30 9 3 0",  # 1 + 4 + 9 + 16; the place of 9; 7, 8, 9; the least
    ]
    assert not run.report.findings


def test_a_check_knows_what_thrust_writes():
    run = ran(THRUST, "written", check=True)
    assert run.output.split() == ["99"]
    (finding,) = run.report.findings
    assert finding.kind == "uninitialized global read"
    assert "`p` + 4 bytes" in finding.text
