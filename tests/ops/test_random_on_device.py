"""Random numbers on a device: the CPU's bits, and what a captured graph draws at each replay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.kernel_calls import emulated
from tests.helpers.layouts import bits, read
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.nn import init
from tinytensor.ops.random import philox
from tinytensor.random_streams import DeviceStreams, Stream

DEVICE = "emulated"
SIZES = (0, 1, 2, 3, 7, 1023, 40_001)
FLOATS = ("float32", "float64", "float16", "bfloat16")


def both(draw: Callable[[str, tt.Generator], tt.Tensor], start: int = 2**32 - 3) -> None:
    """The same bits on both devices, and the generator as far along; counters cross 32 bits."""
    here, there = tt.Generator(2**63 + 11), tt.Generator(2**63 + 11)
    here.advance(start)
    there.advance(start)
    a, b = draw("cpu", here), draw(DEVICE, there)
    assert b.device is tt.Device(DEVICE)
    assert bits(a) == bits(b.cpu())
    assert here.get_state() == there.get_state()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_and_normal_have_the_bits_of_the_cpu(dtype: str, n: int) -> None:
    both(lambda device, g: tt.uniform((n,), dtype=dtype, device=device, generator=g))
    both(lambda device, g: tt.uniform((n,), -1.3, 2.9, dtype=dtype, device=device, generator=g), 2**64 - 3)
    both(lambda device, g: tt.normal(0.0, 1.0, (n,), dtype=dtype, device=device, generator=g))
    both(lambda device, g: tt.normal(0.3, 1.7, (n,), dtype=dtype, device=device, generator=g), 2**64 - 3)


@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout_of_residual_sums_has_the_bits_of_the_cpu(dtype: str) -> None:
    """Vectors of two float64 begin in the middle of a Philox block, too."""

    def draw(device: str, g: tt.Generator) -> tt.Tensor:
        x, y = (make(3, 40, dtype=dtype, device=device) for make in (tt.zeros, tt.ones))
        return tt.add_layer_norm(x, y, dropout=0.4, generator=g)[0]

    both(draw)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"])
def test_randint_has_the_bits_of_the_cpu(dtype: str, n: int) -> None:
    low = 0 if dtype[0] == "u" else -100
    both(lambda device, g: tt.randint(low, 101, (n,), dtype=dtype, device=device, generator=g))
    for ends in [(-(2**63), 2**63), (0, 2**63), (-5, 2**40 + 3), (7, 8)] if dtype == "int64" else []:
        both(lambda device, g, ends=ends: tt.randint(*ends, (n,), device=device, generator=g))


@pytest.mark.parametrize("n", SIZES)
def test_coins_and_orders_are_those_of_the_cpu(n: int) -> None:
    both(lambda device, g: tt.permutation(n, device=device, generator=g))
    for dtype in FLOATS:
        p = tt.uniform((n,), dtype=dtype, generator=tt.Generator(5))
        both(lambda device, g, p=p: tt.bernoulli(p.to(device), generator=g))
    square = tt.uniform((n % 100, 3), generator=tt.Generator(5))
    both(lambda device, g: tt.bernoulli(square.to(device).T, generator=g))


def weights(shape: tuple[int, ...], dtype: str) -> tt.Tensor:
    """A third of them is 0; the first never is."""
    p = tt.uniform(shape, dtype=dtype, generator=tt.Generator(5))
    return tt.where(p < 0.3, 0.0, p) + (tt.arange(shape[-1]) == 0).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(7,), (3, 1000), (2, 1), (2, 5001)])
def test_draws_by_weight_are_those_of_the_cpu(shape: tuple[int, ...], dtype: str) -> None:
    """Where no draw falls on a border of the rounded sums, as here."""
    p = weights(shape, dtype)
    both(lambda device, g: tt.multinomial(p.to(device), 50, replacement=True, generator=g))
    # several blocks for a row
    both(lambda device, g: tt.multinomial(p.to(device), 1100, replacement=True, generator=g))
    for few in {1, min(shape[-1] // 2 + 1, 4), min(shape[-1] // 2, 600)}:  # 600: of more than a tile each
        both(lambda device, g, n=few: tt.multinomial(p.to(device), n, replacement=False, generator=g))


def test_sums_that_were_rounded_up_lead_to_no_weight_of_zero() -> None:
    """Sums of groups of 32 weights; as if rounding had lifted all but the second and the fourth."""
    draw = tt.cuda.kernel(
        """#include "random/sampling.cu"
        __global__ void draw(long long* y, const double* sums, const float* p, const double* u) {
            const long long found = drawn(sums, 5, p, 0, u[blockIdx.x], 32, 150);
            if (threadIdx.x == 0) y[blockIdx.x] = found;
        }""",
        "draw",
    )
    p = np.zeros(150, np.float32)
    p[[40, 45, 110]] = 1.0
    y, sums = tt.empty(7, dtype=tt.int64, device=DEVICE), [0.5, 2.5, 3.0, 4.0, 5.0]
    u = [0.05, 0.11, 0.31, 0.55, 0.65, 0.9, 1.0 - 2.0**-53]  # of 5: 0.25 … 5
    draw[7, 32](y, f64(sums), on_device(p), f64(u))
    assert y.tolist() == [40, 40, 45, 110, 110, 110, 110]


def f64(values: Any) -> tt.Tensor:
    return tt.tensor(values, dtype="float64", device=DEVICE)


def on_device(values: Any) -> tt.Tensor:
    return tt.tensor(values, dtype="float32", device=DEVICE)


def test_weights_of_zero_are_never_drawn() -> None:
    """Rounded sums must not lead to them: sums of these weights round in every step."""
    rng = np.random.default_rng(0)
    p = rng.random((4, 3000)) * 10.0 ** rng.integers(-12, 3, (4, 3000))
    p[rng.random(p.shape) < 0.7] = 0
    drawn = read(
        tt.multinomial(tt.tensor(p, device=DEVICE), 20_000, replacement=True, generator=tt.Generator(1)).cpu()
    )
    assert (np.take_along_axis(p, drawn, 1) > 0).all()


def test_an_infinite_sum_of_finite_weights() -> None:
    p = tt.full((1, 100), 1.7e308, dtype="float64", device=DEVICE)
    drawn = read(tt.multinomial(p, 2000, replacement=True, generator=tt.Generator(3)).cpu())
    assert len(np.unique(drawn)) == 100


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda t: tt.bernoulli(t([0.5, -0.25])), "bernoulli: the value -0.25"),
        (lambda t: tt.bernoulli(t([1.5])), "bernoulli: the value 1.5"),
        (lambda t: tt.bernoulli(t([float("nan")])), "bernoulli: the value nan"),
        (lambda t: tt.multinomial(t([1.0, -2.0]), 1), "multinomial: the value -2.0"),
        (lambda t: tt.multinomial(t([1.0, float("inf")]), 1), "multinomial: the value inf"),
        (lambda t: tt.multinomial(t([1.0, float("nan")]), 1, False), "multinomial: the value nan"),
        (lambda t: tt.multinomial(t([0.0, 0.0]), 1), "1 samples from a row with 0 positive weights"),
        (lambda t: tt.multinomial(t([1.0, 0.0]), 2, False), "2 samples from a row with 1 positive weights"),
        (
            lambda t: tt.multinomial(t([]), 2, replacement=True),
            "2 samples from a row with 0 positive weights",
        ),
    ],
)
def test_numbers_that_are_no_probabilities_say_so(call: Callable[[Any], Any], text: str) -> None:
    with pytest.raises(tt.ArgumentError) as error:
        call(lambda values: tt.tensor(values, dtype="float32", device=DEVICE))
    assert text in str(error.value)


def test_drawing_waits_for_nobody() -> None:
    """But for the look at the report, 24 bytes, on a device that works while the host waits."""
    p = tt.full((3, 100), 0.5, device=DEVICE)
    before = emulated().statistics.copy_out_bytes
    tt.multinomial(p, 5, replacement=True)
    tt.bernoulli(p)
    assert emulated().statistics.copy_out_bytes - before <= 48


@pytest.mark.parametrize(
    "fill",
    [
        init.uniform_,
        init.normal_,
        init.trunc_normal_,
        init.kaiming_normal_,
        init.kaiming_uniform_,
        init.xavier_normal_,
        init.xavier_uniform_,
    ],
)
def test_weights_start_with_the_bits_of_the_cpu(fill: Callable[..., tt.Tensor]) -> None:
    both(lambda device, g: fill(tt.empty(31, 50, device=device), generator=g))


def test_the_default_generator_and_short_names() -> None:
    for draw in (lambda device: tt.rand(3, 5, device=device), lambda device: tt.randn(7, device=device)):
        tt.manual_seed(4)
        a = draw("cpu")
        tt.manual_seed(4)
        assert bits(a) == bits(draw(DEVICE).cpu())


# ---- captured graphs ---------------------------------------------------------------------------------------


def drawn(stream: bytes, n: int) -> tt.Tensor:
    """What a kernel draws that was launched with this parameter."""
    y = tt.empty(n, device=DEVICE)
    args = (view_of(y), stream, 0.0, 1.0, True, n)
    Launch(emulated(), "random")("uniform_forward", tt.float32, "int", grid=1, args=args)
    return y.cpu()


def test_each_replay_draws_what_the_calls_would_have_drawn() -> None:
    launch = Launch(emulated(), "random")
    graph, eager, other = tt.Generator(9), tt.Generator(9), tt.Generator(1)
    for g in (graph, eager):
        g.advance(5)
    with DeviceStreams(emulated()) as streams:
        first = launch.stream(Stream(graph.seed, graph.advance(philox.blocks_needed(10, 1))))
        aside = launch.stream(Stream(other.seed, other.advance(philox.blocks_needed(6, 1))))
        second = launch.stream(Stream(graph.seed, graph.advance(philox.blocks_needed(7, 1))))
        frozen = launch.stream(Stream(123, 4))  # drawn before: its place is known
    assert graph.get_state() == eager.get_state()  # nothing was drawn yet
    assert other.offset == 0
    for replay in range(3):
        streams.begin()
        for stream, n in ((first, 10), (second, 7)):
            assert bits(drawn(stream, n)) == bits(tt.uniform((n,), generator=eager))
        assert graph.get_state() == eager.get_state()
        expected = tt.Generator(1)
        expected.advance(2 * replay)
        assert bits(drawn(aside, 6)) == bits(tt.uniform((6,), generator=expected))
    fixed = tt.Generator(123)
    fixed.advance(4)
    assert bits(drawn(frozen, 8)) == bits(tt.uniform((8,), generator=fixed))
    assert launch.stream(Stream(9, 5)) != first  # outside of the capture, draws are plain again


def test_more_generators_than_a_graph_has_room_for() -> None:
    generators = [tt.Generator(i) for i in range(17)]
    with DeviceStreams(emulated()):
        for g in generators[:16]:
            g.advance(1)
        with pytest.raises(tt.DeviceError, match="more than 16 generators"):
            generators[16].advance(1)
    assert {g.offset for g in generators[:16]} == {0}
