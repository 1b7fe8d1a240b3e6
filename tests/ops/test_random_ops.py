"""Random tensors: the numbers of the bit stream, in the asked shape, dtype and range, in their share, and the
same on devices; what a captured graph draws at each replay.

The stream itself and its distributions are tested in test_philox.py.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.core.test_errors import check_wrong_call
from tests.helpers.kernel_calls import emulated
from tests.helpers.layouts import bits, read
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.nn import init
from tinytensor.ops.random import philox
from tinytensor.random_streams import DeviceStreams, Stream

DEVICE = "emulated"
SIZES = (0, 1, 2, 3, 7, 1023, 40_001)
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
RANGES = [
    (-(2**63), 2**63),
    (0, 2**63),
    (-5, 2**40 + 3),
    (7, 8),
    (-(2**63), -(2**63) + 3),
    (2**63 - 3, 2**63),
]


def probabilities(dtype: str, *shape: int) -> tt.Tensor:
    return tt.uniform(shape, dtype=dtype, generator=tt.Generator(5))


def dropped_sum(n: int, dtype: str, generator: tt.Generator, device: str) -> tt.Tensor:
    """Vectors of two float64 begin in the middle of a Philox block, too."""
    x, y = (make(3, n % 100 + 1, dtype=dtype, device=device) for make in (tt.zeros, tt.ones))
    return tt.add_layer_norm(x, y, dropout=0.4, generator=generator)[0]


def integers(n: int, dtype: str, **at: Any) -> tt.Tensor:
    return tt.randint(0 if dtype[0] == "u" else -100, 101, (n,), dtype=dtype, **at)


FILLS = [
    *(init.uniform_, init.normal_, init.trunc_normal_, init.kaiming_normal_, init.kaiming_uniform_),
    *(init.xavier_normal_, init.xavier_uniform_),
]
# Dtypes, and a draw of n elements, of a dtype, by a generator on a device.
DRAWS: dict[str, tuple[tuple[str, ...], Callable[..., tt.Tensor]]] = {
    "uniform": (FLOATS, lambda n, **at: tt.uniform((n,), **at)),
    "uniform of a range": (FLOATS, lambda n, **at: tt.uniform((n,), -1.3, 2.9, **at)),
    "normal": (FLOATS, lambda n, **at: tt.normal(0.0, 1.0, (n,), **at)),
    "normal of a mean": (FLOATS, lambda n, **at: tt.normal(0.3, 1.7, (n,), **at)),
    "randint": (INTS, integers),
    **{f"randint {ends}": (("int64",), lambda n, ends=ends, **at: tt.randint(*ends, (n,), **at))
       for ends in RANGES},
    "permutation": (("int64",), lambda n, dtype, **at: tt.permutation(n, **at)),
    "bernoulli": (FLOATS, lambda n, dtype, generator, device: tt.bernoulli(
        probabilities(dtype, n).to(device), generator=generator)),
    "bernoulli, transposed": (("float32",), lambda n, dtype, generator, device: tt.bernoulli(
        probabilities(dtype, n % 100, 3).to(device).T, generator=generator)),
    "multinomial": (("float32",), lambda n, dtype, generator, device: tt.multinomial(
        tt.tensor([1.0, 2.0, 0.5], device=device), n, replacement=True, generator=generator)),
    "choices": (("float32",), lambda n, dtype, generator, device: tt.multinomial(
        tt.ones(n, 9, device=device), 5, replacement=False, generator=generator)),
    "dropout": (("float32",), lambda n, dtype, generator, device: tt.dropout(
        tt.ones(n, device=device), 0.3, generator=generator)),
    "dropout of a sum": (FLOATS, dropped_sum),
    **{f.__name__: (("float32",), lambda n, dtype, generator, device, f=f: f(
        tt.empty(31, n % 100 + 1, device=device), generator=generator)) for f in FILLS},
}  # fmt: skip
CASES = [(name, dtype) for name, (dtypes, _) in DRAWS.items() for dtype in dtypes]


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_fixes_the_numbers_and_the_generator_moves_on(name: str) -> None:
    (dtype, *_), draw = DRAWS[name]
    g = tt.Generator(3)
    first, second, again = [draw(15, dtype=dtype, generator=x, device="cpu") for x in (g, g, tt.Generator(3))]
    assert bits(again) == bits(first)
    assert bits(first) != bits(second) or name == "randint (7, 8)"
    assert not first.requires_grad


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_devices_draw_the_bits_of_the_cpu(name: str, dtype: str) -> None:
    """Where counters cross 32 and 64 bits, too; the generator is as far along."""
    _, draw = DRAWS[name]
    for n in SIZES:
        for start in (2**32 - 3, 2**64 - 3):
            both(lambda device, g, n=n: draw(n, dtype=dtype, generator=g, device=device), start)


def both(draw: Callable[[str, tt.Generator], tt.Tensor], start: int = 2**32 - 3) -> None:
    """The same bits on both devices, and the generator as far along; counters cross 32 bits."""
    here, there = tt.Generator(2**63 + 11), tt.Generator(2**63 + 11)
    here.advance(start)
    there.advance(start)
    a, b = draw("cpu", here), draw(DEVICE, there)
    assert b.device is tt.Device(DEVICE)
    assert bits(a) == bits(b.cpu())
    assert here.get_state() == there.get_state()


def test_one_number_on_the_host_is_that_of_uniform() -> None:
    a, b = tt.Generator(2**63 + 5), tt.Generator(2**63 + 5)
    many = [a.random() for _ in range(100)]
    assert many == [tt.uniform(1, dtype=tt.float64, generator=b).item() for _ in range(100)]
    assert a.offset == b.offset == 100
    assert type(many[0]) is float
    assert 0 <= min(many) < 0.1 < 0.9 < max(many) < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (2**64 - 1, 2**64 - 3), (2**63 + 7, 2**32 - 1)])
def test_a_few_numbers_begin_as_many_do(seed: int, offset: int, dtype: str) -> None:
    """A few blocks of the stream are computed in another way than many."""

    def draw(count: int) -> bytes:
        g = tt.Generator()
        g.set_state({"seed": seed, "offset": offset})
        return bits(tt.uniform(count, dtype=dtype, generator=g))

    assert [draw(n) for n in range(20)] == [draw(50)[: len(draw(n))] for n in range(20)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (0, 4)])
def test_uniform_and_normal_are_the_stream_scaled(dtype: str, shape: tuple[int, ...]) -> None:
    for draw, call in (("uniform", tt.uniform), ("normal", tt.normal)):
        raw = np.empty(shape, dtype)
        getattr(philox, f"{draw}_{dtype}")(11, 0, raw)
        plain = call(shape=shape, dtype=dtype, generator=tt.Generator(11))
        assert (plain.shape, plain.dtype.name) == (shape, dtype)
        np.testing.assert_array_equal(read(plain), raw)
    scaled = read(tt.normal(5.0, 2.0, shape, dtype=dtype, generator=tt.Generator(11)))
    np.testing.assert_allclose(scaled, raw * 2 + 5, rtol=1e-6)
    getattr(philox, f"uniform_{dtype}")(11, 0, raw)
    scaled = read(tt.uniform(shape, -1.0, 3.0, dtype=dtype, generator=tt.Generator(11)))
    np.testing.assert_allclose(scaled, raw * 4 - 1, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_normal_numbers_are_the_float32_ones_rounded(dtype: str) -> None:
    for mean, deviation in ((0.0, 1.0), (-2.0, 0.5)):
        wide = tt.normal(mean, deviation, (100,), generator=tt.Generator(2))
        narrow = tt.normal(mean, deviation, (100,), dtype=dtype, generator=tt.Generator(2))
        assert bits(narrow) == bits(wide.astype(dtype))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        *(("int32", -100, 100), ("int8", -100, 100), ("uint8", 0, 100), ("uint64", 0, 100)),
        *[("int64", *ends) for ends in RANGES],
    ],
)
def test_randint_is_the_stream_in_every_dtype_and_range(dtype: str, low: int, high: int) -> None:
    drawn = tt.randint(low, high, (400,), dtype=dtype, generator=tt.Generator(7))
    assert drawn.dtype.name == dtype
    np.testing.assert_array_equal(read(drawn), philox.randint(7, 0, low, high, 400).astype(dtype))


def test_a_single_end_of_randint_is_high() -> None:
    calls = [
        lambda g: tt.randint(0, 5, (4, 3), generator=g),
        lambda g: tt.randint(5, (4, 3), generator=g),
        lambda g: tt.randint(5, [4, 3], generator=g),
        lambda g: tt.randint(5, shape=(4, 3), generator=g),
        lambda g: tt.randint(high=5, size=(4, 3), generator=g),
    ]
    drawn = [call(tt.Generator(3)).tolist() for call in calls]
    assert drawn[1:] == drawn[:1] * 4


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_never_reaches_its_end(dtype: str) -> None:
    x = read(tt.uniform((50_000,), dtype=dtype, generator=tt.Generator(1)))
    assert x.min() >= 0
    assert 0.99 < x.max() < 1
    digits = {"bfloat16": 256, "float16": 2048}.get(dtype, 2.0**53)
    np.testing.assert_array_equal(x * digits, np.floor(x * digits))
    mean, deviation = 0.5 - 0.5 / digits, math.sqrt(1 / 12 / x.size)
    assert abs(x.mean(dtype=np.float64) - mean) < 5 * deviation


@pytest.mark.parametrize("dtype", FLOATS)
def test_shares_are_the_probabilities(dtype: str) -> None:
    n = 20_000
    p = tt.broadcast_to(tt.tensor([0.0, 0.25, 1.0], dtype=dtype), (n, 3))
    drawn = tt.bernoulli(p, generator=tt.Generator(4))
    assert drawn.dtype.name == dtype
    shares = read(drawn).mean(axis=0, dtype=np.float64)
    assert (shares[0], shares[2]) == (0.0, 1.0)
    assert abs(shares[1] - 0.25) < 5 * math.sqrt(0.25 * 0.75 / n)
    transposed = tt.bernoulli(p.T.contiguous().T, generator=tt.Generator(4))
    np.testing.assert_array_equal(read(transposed), read(drawn))
    weights = tt.tensor([[1.0, 0.0, 3.0, 4.0], [0.0, 5.0, 0.0, 0.0]], dtype=dtype)
    chosen = read(tt.multinomial(weights, n, replacement=True, generator=tt.Generator(5)))
    shares = np.bincount(chosen[0], minlength=4) / n
    assert shares[1] == 0
    np.testing.assert_allclose(shares, [1 / 8, 0, 3 / 8, 4 / 8], atol=5 * math.sqrt(0.25 / n))
    assert (chosen[1] == 1).all()


def test_multinomial_without_replacement() -> None:
    """The chance of an order is a product: draw by weight, drop, draw again."""
    weights = np.array([1.0, 2.0, 5.0, 0.0])
    rows = tt.tensor(np.tile(weights, (20_000, 1)))
    drawn = [tuple(r) for r in read(tt.multinomial(rows, 3, replacement=False, generator=tt.Generator(6)))]
    for order in permutations(range(3)):
        left, chance = weights.sum(), 1.0
        for i in order:
            chance *= weights[i] / left
            left -= weights[i]
        share = drawn.count(order) / len(drawn)
        assert abs(share - chance) < 5 * math.sqrt(chance * (1 - chance) / len(drawn)), order
    assert all(3 not in order for order in drawn)


@pytest.mark.parametrize(
    ("name", "dtype", "per_block"),
    [
        *(("uniform", "float32", 4), ("normal", "bfloat16", 4), ("normal", "float64", 2), ("dropout", "", 4)),
        *(
            ("randint", "int8", 2),
            ("permutation", "", 2),
            ("bernoulli", "float32", 4),
            ("multinomial", "", 2),
        ),
    ],
)
def test_a_draw_takes_the_blocks_that_it_needs(name: str, dtype: str, per_block: int) -> None:
    """So a draw of nothing leaves the generator where it is."""
    for n in (0, 1, 5, 8):
        g = tt.Generator(1)
        DRAWS[name][1](n, dtype=dtype, generator=g, device="cpu")
        assert g.offset == -(-n // per_block), n


@pytest.mark.parametrize(
    "draw",
    [*(tt.uniform, partial(tt.normal, 0.0, 1.0), tt.rand, tt.randn), lambda s, **k: tt.randint(0, 9, s, **k)],
)
def test_shapes_as_tuple_list_and_number(draw) -> None:
    expected = bits(draw((6,), generator=tt.Generator(3)))
    for shape in ([2, 3], (6,), 6, np.int64(6), (1, 6, 1)):
        x = draw(shape, generator=tt.Generator(3))
        assert (x.shape, bits(x)) == (np.empty(shape).shape, expected)
    assert draw((3, 0, 2)).shape == (3, 0, 2)
    with pytest.raises(tt.ShapeError):
        draw((2, -1))
    with pytest.raises(tt.DTypeError):
        draw((2, 1.5))


def test_rand_and_randn_take_sizes_one_by_one() -> None:
    for short, full in ((tt.rand, tt.uniform), (tt.randn, partial(tt.normal, 0.0, 1.0))):
        assert bits(short(2, 3, generator=tt.Generator(3))) == bits(full((2, 3), generator=tt.Generator(3)))
        assert short().shape == ()


@pytest.mark.parametrize("dtype", FLOATS)
def test_ends_as_far_as_the_dtype_holds_them(dtype: str) -> None:
    far = float(tt.finfo(dtype).max)
    x = read(tt.uniform((1000,), -far / 2, far / 2, dtype=dtype, generator=tt.Generator(0)))
    assert np.isfinite(x).all()
    assert x.min() < -far / 4
    assert x.max() > far / 4
    point = read(tt.uniform((5,), far, far, dtype=dtype))
    assert (point == far).all()
    for wrong in (
        lambda: tt.uniform((3,), 0.0, 2 * far, dtype=dtype),
        lambda: tt.uniform((3,), 0.0, float("nan"), dtype=dtype),
        lambda: tt.uniform((3,), -float("inf"), 0.0, dtype=dtype),
        lambda: tt.uniform((3,), 1.0, 0.0, dtype=dtype),
        lambda: tt.normal(2 * far, 1.0, (3,), dtype=dtype),
        lambda: tt.normal(0.0, 10**400, (3,), dtype=dtype),
        lambda: tt.normal(0.0, -1.0, (3,), dtype=dtype),
    ):
        with pytest.raises(tt.ArgumentError):
            wrong()
    if dtype != "float16":  # computed in float32, which holds the distance
        with pytest.raises(tt.ArgumentError, match="high - low"):
            tt.uniform((3,), -far, far, dtype=dtype)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-300, 1.0, 5e307])
@pytest.mark.parametrize("replacement", [True, False])
def test_only_the_ratio_of_weights_counts(scale: float, replacement: bool, device: str) -> None:
    """Even where their sum overflows, or a product with them underflows."""
    n = 20_000 if device == "cpu" or FULL else 2_000
    row = tt.tensor(np.array([1.0, 0.0, 2.0, 1.0]) * scale, device=device)
    for p, count in ((row.expand(n, 4), 1), *([(row, n)] if replacement else [])):
        drawn = read(tt.multinomial(p, count, replacement, generator=tt.Generator(8)).cpu()).reshape(-1)
        shares = np.bincount(drawn, minlength=4) / n
        assert shares[1] == 0
        np.testing.assert_allclose(shares, [0.25, 0, 0.5, 0.25], atol=5 * math.sqrt(0.25 / n))


def test_a_tiny_weight_comes_before_none() -> None:
    """Beside 1, its first arrival lies beyond the largest float, but it comes; weight 0 never does."""
    for p in ([0.0, 1e-320, 1.0], [0.0, 1e-320, 1e308]):
        drawn = tt.multinomial(tt.tensor(p, dtype=tt.float64), 2, replacement=False)
        assert drawn.tolist() == [2, 1]


def test_multinomial_of_nothing() -> None:
    for replacement in (True, False):
        assert tt.multinomial(tt.ones(2, 3), 0, replacement).shape == (2, 0)
        assert tt.multinomial(tt.ones(0, 3), 2, replacement).shape == (0, 2)
        assert tt.multinomial(tt.zeros(3), 0, replacement).shape == (0,)


S, D, A = tt.ShapeError, tt.DTypeError, tt.ArgumentError
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    *[(lambda ends=ends: tt.randint(*ends), tt.TinyTensorError, "shape") for ends in ((), (5,), (2, 5))],
    (lambda: tt.randint(0, 129, (2,), dtype="int8"), A, "int8 has the range -128 to 127"),
    *[(lambda ends=ends: tt.randint(*ends, (3,)), A, "empty or exceeds int64")
      for ends in ((0, 0), (3, 2), (-(2**63) - 1, 0), (0, 2**63 + 1))],
    *[(lambda end=end: tt.uniform((3,), end, 2.0), D, "uniform") for end in ("1", None, 1j, [0.5])],
    *[(lambda end=end: tt.normal(0.0, end, (3,)), D, "normal") for end in ("1", None, 1j, [0.5])],
    *[(lambda n=n: tt.permutation(n), D, "permutation") for n in ((2, 3), 2.0, "3", None)],
    *[(lambda r=r: tt.multinomial(tt.zeros(2, 3), 1, r), A, "nothing to draw") for r in (True, False)],
    (lambda: tt.multinomial(tt.tensor([1.0, 0.0, 2.0]), 3, replacement=False), A, "sampled at most once"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG, ids=range(len(WRONG)))
def test_wrong_draws_are_refused(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    check_wrong_call(call, error, [words])
    assert tt.randint(127, 128, (1,), dtype="int8").item() == 127


# ---- by weight, on a device --------------------------------------------------------------------------------


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
        (lambda t: tt.multinomial(t([]), 2, True), "2 samples from a row with 0 positive weights"),
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
