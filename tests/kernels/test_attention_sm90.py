"""Attention by the kernel for compute capability 9.0, in emulation: bits of its twin in attention_mma.cu, no
findings of the checker, and findings where a barrier, a wait or a fence is wrong. Its machine code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import RUNTIME, close, host, mutated, normal
from tests.kernels import test_sass
from tinytensor.device import as_device
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.dtypes import bfloat16, float16
from tinytensor.op_table.attention.attention import past
from tinytensor.ops.attention import launch
from tinytensor.ops.attention.attention import heads, problem
from tinytensor.random_streams import Stream
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_files import kernel_path
from tinytensor.runtime.signature import instance

FILE = kernel_path("attention_sm90", ".cu")


class Case(NamedTuple):
    """Sizes and options of one call."""

    dtype: str
    queries: int
    keys: int
    size: int
    value_size: int
    causal: bool = False
    dropout: float = 0.0
    batch: int = 1
    heads: int = 1


def operand(device, dtype, *shape, seed):
    """Random numbers; after each row, and after the last one of each head, there are NaN."""
    B, H, T, D = shape
    values = np.full((B, H, T + 3, -(-D // 8) * 8 + 8), np.nan)
    values[:, :, :T, :D] = normal(*shape, seed=seed)
    return tt.tensor(values).astype(getattr(tt, dtype)).to(device)[:, :, :T, :D]


def operands(case, device="emulated"):
    """q, k and v."""
    c = case
    sizes = ((c.queries, c.size), (c.keys, c.size), (c.keys, c.value_size))
    return [operand(device, c.dtype, c.batch, c.heads, *s, seed=i) for i, s in enumerate(sizes)]


def run(case, qkv, by_warpgroups=True):
    """The result and the logsumexp, by attention_sm90.cu or by its twin."""
    q, k, v = qkv
    rows = (case.batch, case.heads, case.queries)
    y = tt.full((*rows, case.value_size), float("nan"), dtype=q.dtype, device=q.device)
    lse = tt.full(rows, float("nan"), device=q.device)
    start = Launch(runtime_of(q.device), "attention")
    stream = start.stream(Stream(7, 3)) if case.dropout else b""
    views = [view_of(x) for x in qkv]
    p = problem(views[0], views[1], views[2], case.causal, case.size**-0.5, case.dropout, stream)
    at = heads(y=view_of(y), q=views[0], k=views[1], v=views[2])
    if by_warpgroups:
        chosen = launch.hopper(p, at, None)
        launch.forward_by_warpgroups(start, p, chosen, at, view_of(lse))
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "hopper", lambda *given: None)
            launch.forward(start, p, at, view_of(lse), None)
    return [y, lse]


def exact(case, qkv):
    """The result without dropout, and the logsumexp, from the definition."""
    q, k, v = [host(x) for x in qkv]
    s = q @ k.swapaxes(-1, -2) * case.size**-0.5
    if case.causal:
        s = np.where(past(q, k), s, -np.inf)
    top = s.max(-1, keepdims=True)
    e = np.exp(s - top)
    total = e.sum(-1, keepdims=True)
    return e / total @ v, (top + np.log(total))[..., 0]


def same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(host(a), host(b))


def near(case, qkv, found):
    y, lse = exact(case, qkv)
    close(found[1], lse, "float32")
    if not case.dropout:
        close(found[0], y, case.dtype, 2)


def near_the_twin(case, qkv, found):
    y, lse = run(case, qkv, by_warpgroups=False)
    close(found[0], host(y), case.dtype, 2)
    close(found[1], host(lse))


# ---- values ------------------------------------------------------------------------------------------------

CASES = [
    Case("bfloat16", 128, 64, 64, 64),  # one tile
    Case("bfloat16", 300, 450, 64, 64, causal=True, heads=2),  # more tiles than stages
    Case("float16", 200, 70, 64, 40, batch=2),  # ragged; narrower values
    Case("bfloat16", 1, 130, 40, 64, causal=True, dropout=0.3),  # the newest token and a cache
    Case("float16", 190, 200, 64, 64, causal=True, dropout=0.2, batch=2, heads=2),
]


@pytest.mark.parametrize("case", CASES)
def test_bits_of_the_twin(case):
    qkv = operands(case)
    found = run(case, qkv)
    near(case, qkv, found)
    same_bits(found, run(case, qkv, by_warpgroups=False))


LARGE_HEADS = [
    Case("bfloat16", 300, 300, 128, 128, causal=True),
    Case("float16", 70, 450, 104, 72, heads=2),
    Case("bfloat16", 130, 290, 128, 128, causal=True, dropout=0.4),
]


@pytest.mark.parametrize("case", LARGE_HEADS)
def test_large_heads(case, monkeypatch):
    """Bits of the twin with as many keys in a tile; with dropout, that has too many for its mask."""
    qkv = operands(case)
    found = run(case, qkv)
    near(case, qkv, found)
    if case.dropout:
        return near_the_twin(case, qkv, found)
    monkeypatch.setitem(launch.FORWARD[2], 128, (64, 128))
    launch.instances.cache_clear()
    same_bits(found, run(case, qkv, by_warpgroups=False))
    launch.instances.cache_clear()


@pytest.mark.parametrize("size", [64, 128])
def test_dropout_drops_the_weights_that_the_twin_drops(size):
    case = Case("bfloat16", 150, size, size, size, dropout=0.5)
    q, k, v = operands(case)
    v = tt.eye(size, dtype=v.dtype).to("emulated").expand(1, 1, size, size).contiguous()
    dropped, expected = [host(run(case, [q, k, v], way)[0]) == 0 for way in (True, False)]
    np.testing.assert_array_equal(dropped, expected)
    assert 0.45 < dropped.mean() < 0.55


def test_a_number_that_is_none_spoils_what_sees_it_alone():
    case = Case("float16", 130, 130, 64, 64, causal=True)
    q, k, v = operands(case)
    k[0, 0, 100, 3] = float("nan")
    y = host(run(case, [q, k, v])[0])
    assert np.isnan(y[0, 0, 100:]).all()
    assert not np.isnan(y[0, 0, :100]).any()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_training_on_compute_capability_9(dropout, monkeypatch):
    """Packed heads: the result and the gradient have the bits of the twin."""
    x = tt.tensor(normal(2, 150, 3 * 128)).astype(tt.bfloat16).to("emulated").requires_grad_()
    grad = tt.tensor(normal(2, 150, 128, seed=1)).astype(tt.bfloat16).to("emulated")
    launched = []
    kernel = type(RUNTIME).kernel

    def watched(file, name, *arguments, **options):
        launched.append(name)
        return kernel(RUNTIME, file, name, *arguments, **options)

    def results():
        y = tt.causal_self_attention(x, 2, dropout=dropout, generator=tt.Generator(7))
        (dx,) = tt.grad(y, [x], grad)
        return [y, dx]

    expected = results()
    monkeypatch.setattr(RUNTIME, "kernel", watched, raising=False)
    monkeypatch.setattr(RUNTIME, "architecture", 90)
    same_bits(results(), expected)
    assert launched == ["attention_forward_hopper", "attention_delta", "attention_backward"]


@pytest.mark.gpu
@pytest.mark.parametrize("case", [*CASES, *LARGE_HEADS])
def test_on_a_gpu(case):
    if runtime_of(as_device("cuda")).architecture != 90:
        pytest.skip("the kernel is for compute capability 9.0")
    qkv = operands(case, "cuda")
    found = run(case, qkv)
    near(case, qkv, found)
    near_the_twin(case, qkv, found)


# ---- the choice of the kernel ------------------------------------------------------------------------------


def test_what_the_kernel_takes():
    """What it does not take is computed by attention_mma.cu."""

    def takes(case, scale=1.0, mask=None, step=0, lead=0):
        sizes = (case.batch, case.heads, case.queries, case.keys, case.size, case.value_size)
        p = launch.Problem(getattr(tt, case.dtype), *sizes, case.causal, scale)
        steps = (case.heads * 5000 * 512, 5000 * 512, step or 512, 1)
        at = {name: launch.Heads(1024 + lead, steps) for name in "qkvy"}
        return launch.hopper(p, at, mask) is not None

    case = Case("bfloat16", 1024, 1024, 64, 64, causal=True, batch=4, heads=12)
    assert takes(case)
    assert takes(case._replace(dtype="float16", size=128, value_size=128, queries=1))
    assert takes(case._replace(size=40, value_size=40, keys=33, queries=5))
    refused = [
        takes(case._replace(dtype="float32")),
        takes(case._replace(size=32, value_size=32)),
        takes(case._replace(size=256, value_size=256)),
        takes(case._replace(size=60)),
        takes(case._replace(queries=32, keys=32)),
        takes(case, scale=-1.0),
        takes(case, mask=view_of(tt.ones(1, 1, 1, 1024, dtype=tt.bool, device="emulated"))),
        takes(case, step=516),
        takes(case, step=-512),
        takes(case, lead=8),
    ]
    assert refused == [False] * len(refused)


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_it_runs_on_compute_capability_9_alone(architecture):
    called = []

    class Runtime:
        multiprocessors = 132

        def kernel(self, file, name, *arguments, **options):
            called.append(file)
            return lambda *launched: None

        def tensor_map(self, *what):
            return bytes(128)

    gpu = Runtime()
    gpu.architecture = architecture
    p = launch.Problem(bfloat16, 4, 12, 1024, 1024, 64, 64, True, 0.125)
    at = {name: launch.Heads(1024, (1024 * 768, 64, 768, 1)) for name in "qkvy"}
    launch.forward(Launch(gpu, "attention"), p, at, None, None)
    assert called == ["attention_sm90" if architecture == 90 else "attention_mma"]


# ---- the checker -------------------------------------------------------------------------------------------

SMALL, LARGE = Case("bfloat16", 70, 450, 64, 64, causal=True), Case("bfloat16", 40, 300, 128, 128)


def findings(file, maps, case=SMALL):
    """What the checker finds, and whether the result is near that of the twin."""
    qkv = operands(case, "checked")
    runtime = runtime_of(as_device("checked"))
    with pytest.MonkeyPatch.context() as patch, tt.cuda.check() as report:
        kind = type(runtime)
        encode, kernel = kind.tensor_map, kind.kernel

        def named(stem, *arguments, **options):
            return kernel(runtime, file if stem == "attention_sm90" else stem, *arguments, **options)

        patch.setattr(runtime, "tensor_map", lambda *given: encode(runtime, *given, **maps), raising=False)
        patch.setattr(runtime, "kernel", named, raising=False)
        found = run(case, qkv)
    expected = run(case, qkv, by_warpgroups=False)
    near = [np.allclose(host(a), host(b), atol=0.02) for a, b in zip(found, expected, strict=True)]
    return list(report.findings), all(near)


def test_it_has_no_findings():
    for case in (SMALL, SMALL._replace(dtype="float16", keys=70, dropout=0.2, heads=2)):
        assert findings("attention_sm90", {}, case) == ([], True)
    assert findings("attention_sm90", {}, LARGE) == ([], True)


FULL = "barrier_wait(&memory.full[ring.stage], ring.parity);"
SCORES = f"float s[1][N][4];\n        {FULL}\n        products_begin();\n"
RESULTS = f"2 * n);\n\n        {FULL}\n        products_begin();\n"
KEYS_READ = "products_wait<0>();\n        give_back();\n\n"
VALUES_READ = "products_wait<0>();\n        give_back();\n    }"
BYTES = "LINES * HS * sizeof(T)"
UNFILLED, REUSED = "unfinished copy", "shared race"
MUTANTS = {  # what is replaced, by what, and the first finding
    "the phase of a wait is off by one": (SCORES, SCORES.replace("parity)", "parity ^ 1)"), UNFILLED),
    "no wait for values": (RESULTS, RESULTS.replace(FULL, ""), UNFILLED),
    "no wait for queries": ("barrier_wait(&memory.arrived, 0);", "", UNFILLED),
    "no wait for an empty stage": (
        "barrier_wait(&memory.empty[ring.stage], ring.parity ^ 1);",
        "",
        "launch failed",  # one arrival too many in a phase of `full`
    ),
    "keys are given back too early": (KEYS_READ, "give_back();\n        products_wait<0>();\n", REUSED),
    "values are given back too early": (
        VALUES_READ,
        "give_back();\n        products_wait<0>();\n    }",
        REUSED,
    ),
    "no wait for scores": (KEYS_READ, "give_back();\n", REUSED),
    "no wait for results": (VALUES_READ, "give_back();\n    }", REUSED),
    "no fence before scores": (SCORES, SCORES.replace("products_begin();", ""), "product without fence"),
    "no fence before results": (RESULTS, RESULTS.replace("products_begin();", ""), "product without fence"),
    "weights are written too early": (
        VALUES_READ,
        f"weights[0][0] = weights[1][0];\n        {VALUES_READ}",
        "register race",
    ),
    "bytes are missing": (BYTES, f"{BYTES} / 2", "deadlock"),
    "bytes are too many": (BYTES, f"{BYTES} + 16", "deadlock"),
    "an arrival is missing": (
        "barrier_init(&memory.empty[s], CONSUMERS)",
        "barrier_init(&memory.empty[s], CONSUMERS + 1)",
        "deadlock",
    ),
    "groups of rows are elsewhere": ("+ d % 64), 1024, 0)", "+ d % 64), 2048, 0)", UNFILLED),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_is_wrong_is_found(mutant, tmp_path):
    before, after, kind = MUTANTS[mutant]
    found, _ = findings(mutated(FILE, before, after, tmp_path), {})
    assert found[0].kind.startswith(kind)


def test_what_is_elsewhere_gives_other_values(tmp_path):
    """Another swizzle, and blocks of 64 columns of the values of large heads."""
    assert findings("attention_sm90", {"swizzle": 0}) == ([], False)
    found = findings(mutated(FILE, "1024, LINES * 128)", "1024, LINES * 64)", tmp_path), {}, LARGE)
    assert found == ([], False)


# ---- machine code ------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    test_sass.disassembler() is None or not nvrtc.available(), reason="NVRTC or nvdisasm is not installed"
)
@pytest.mark.parametrize("dtype", [bfloat16, float16], ids=str)
def test_machine_code(dtype, tmp_path):
    sizes = {64: (80, "HGMMA.64x64x16.F32"), 128: (168, "HGMMA.64x128x16.F32")}
    names = {
        (size, drop): instance("attention_forward_hopper", (dtype, size, drop))
        for size in sizes
        for drop in (False, True)
    }
    compiled = nvrtc.build(FILE, [*names.values()], "sm_90")
    assert "serialized" not in compiled.log  # products that wait for one another
    code = test_sass.code(FILE, [*names.values()], "sm_90", tmp_path)
    for (size, _), name in names.items():
        used, (registers, product) = compiled.resources[name], sizes[size]
        assert used.stack == used.spill_stores == 0
        assert used.registers == registers  # of 384 threads, before setmaxnreg
        for opcode in (product, "UTMALDG.4D", "SYNCS.ARRIVE", "USETMAXREG"):
            assert opcode in code[name]
        loops = [found for found in test_sass.loops(code[name]) if found["HGMMA"] == 2 * size // 16]
        loop = min(loops, key=lambda found: found.total())  # a tile of keys and of values
        assert loop["LDS"] == loop["STS"] == loop["LDSM"] == loop["LDL"] == loop["R2UR"] == 0
