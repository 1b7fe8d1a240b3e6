"""Graphs against what was recorded, and counted by hand; each op says how its gradient is computed."""

import math
import operator
import re
import weakref
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.observed import observed
from tests.helpers.pages import parse
from tinytensor import lab
from tinytensor.autograd.graph import Node
from tinytensor.errors import DTypeError, GradError
from tinytensor.lab.graph.graph import gradient_text
from tinytensor.lab.graph.placement import place
from tinytensor.op import registry
from tinytensor.transforms.checkpoint import Dropped

A = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
DEVICES = ["cpu", "emulated"]


class Cube(tt.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad):
        """dx = 3 * x**2 * grad."""
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x


def in_place(w, u):
    y = w * 2
    v = y[1:3]
    v *= u[1:3]
    y[0] = u[0]
    return y * y


def some_without_grad(w, u):
    with tt.no_grad():
        constant = tt.exp(w)
    return (w * constant + u.detach()) * u


def several_outputs(w, u):
    p, q, _ = (w * u).chunk(3, axis=1)
    values, places = tt.topk(w, 2)
    return p * q + values * 2.0


def checkpointed(w, u):
    def block(x):
        return tt.checkpoint(lambda x: tt.tanh(x @ u.T) @ u, x) * x

    return tt.checkpoint(block, tt.checkpoint(block, w * 1.0))


def second_order(w, u):
    (slope,) = tt.grad((tt.tanh(w) * u * w).sum(), w, create_graph=True)
    return slope * slope * u


FUNCTIONS = {
    "arithmetic": lambda w, u: w * u / (w * w + 2.0) - u,
    "shared": lambda w, u: sum([w * i for i in range(5)], u),
    "matrices": lambda w, u: ops.layer_norm(w @ u.T, None, None),
    "views": lambda w, u: w[1:].T[::2].reshape(-1) * u.unfold(1, 3, 2)[1:, 0, :1].reshape(-1, 1),
    "broadcast": lambda w, u: w + u[0] * u[:, :1],
    "in place": in_place,
    "no_grad": some_without_grad,
    "several": several_outputs,
    "select": lambda w, u: w[[0, 0, 3]] * u[tt.tensor([1, 2, 3], device=u.device)],
    "checkpoints": checkpointed,
    "second order": second_order,
    "function": lambda w, u: Cube.apply(w) * u,
    "cast": lambda w, u: (w.astype(tt.bfloat16) * 2).astype(tt.float32) * u,
    "one leaf": lambda w, u: w,
}


def leaves(device):
    return [tt.tensor(a, requires_grad=True, device=device) for a in (A, A[::-1].copy())]


# ---- graphs


def test_a_node_counts_its_parents() -> None:
    x = tt.ones(2, requires_grad=True)
    assert repr(x.sum().node) == "<Node sum, 1 parent>"
    assert repr((x * x).node) == "<Node multiply, 2 parents>"


def recorded(*outputs):
    """All nodes behind tensors, by a walk of its own."""
    found, stack = set(), [t.node for t in outputs]
    while stack:
        edge = stack.pop()
        node = getattr(edge, "node", edge) if not isinstance(edge, Node) else edge
        if isinstance(node, Node) and node not in found:
            found.add(node)
            stack += [p for p in node.parents if p is not None]
    return found


def test_what_is_named_does_not_count_as_saved() -> None:
    w, table = tt.ones(5, requires_grad=True), tt.ones(3, 5)
    assert [lab.graph(w * table, names=n).nbytes for n in ({}, {"w": w, "table": table})] == [60, 0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_graph_has_the_nodes_that_were_recorded(name, device) -> None:
    w, u = leaves(device)
    y = FUNCTIONS[name](w, u)
    nodes = recorded(y)
    graph = lab.graph(y, names={"w": w, "u": u})
    ops = [n for n in graph.nodes if n.state != "leaf"]
    assert sorted(n.name for n in ops) == sorted(n.name for n in nodes)
    assert graph.nodes[graph.outputs[0]].shapes[0] == y.shape
    saved = [r[0] for n in nodes if isinstance(n.saved, list) for r in n.saved if type(r) is tuple]
    kept = [t.storage for n in nodes if isinstance(n.saved, Dropped) for t in n.saved.region.tensors]
    storages = {*saved, *kept} - {w.storage, u.storage}
    assert graph.nbytes == sum(storage.nbytes for storage in storages)
    for node in graph.nodes:
        assert all(source < node.number for _, source, _ in node.inputs)
        assert None not in node.shapes
    assert {n.name for n in graph.nodes if n.state == "leaf"} <= {"w", "u"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"one leaf"}))
def test_shapes_are_those_of_the_results(name) -> None:
    ran: dict[str, set[tuple[int, ...]]] = {}

    def watch(op, device, ins, params, run):
        outs = run()
        ran.setdefault(op, set()).update(out.shape for out in outs if out is not None)
        return outs

    with observed(op=watch):
        y = FUNCTIONS[name](*leaves("cpu"))
    compared = [n for n in lab.graph(y).nodes if n.name in ran]
    assert compared or name == "function"
    for node in compared:
        assert ran[node.name].issuperset(node.shapes), node.name


def test_what_nodes_keep_is_counted_once() -> None:
    w = tt.ones(100, 100, requires_grad=True)
    y = tt.exp(w)  # keeps y
    z = y[:50] * y[50:]  # keeps two views of it
    graph = lab.graph(z, names={"w": w})
    product = graph.nodes[graph.outputs[0]]
    assert {(s.name, s.shape, s.nbytes, s.counted) for s in product.saved} == {
        ("a", (50, 100), 40_000, False),
        ("b", (50, 100), 40_000, False),
    }
    assert graph.nbytes == 40_000
    assert lab.graph(w * w).nbytes == 0


def test_states_of_a_graph() -> None:
    w, u = leaves("cpu")
    y = checkpointed(w, u)
    assert {n.state for n in lab.graph(y).nodes} == {"leaf", "recorded", "recomputed"}
    y.sum().backward()
    graph = lab.graph(y)
    assert "freed" in {n.state for n in graph.nodes}
    assert graph.nbytes == 0
    assert "freed" in str(graph.table())


def test_a_graph_keeps_nothing_alive() -> None:
    w = tt.ones(4, requires_grad=True)
    y = tt.exp(w)
    node = weakref.ref(y.node)
    graph = lab.graph(y)
    del y
    assert node() is None
    assert graph.nodes[-1].name == "exp"


def test_a_long_chain_is_read() -> None:
    y = tt.ones(1, requires_grad=True)
    for _ in range(20_000):
        y = y * 1.0
    assert len(lab.graph(y).nodes) == 20_001


def test_a_weight_of_a_long_loop_is_drawn() -> None:
    w = y = tt.ones(1, requires_grad=True)
    for _ in range(3000):
        y = y * w  # edges to w from 3,000 layers: 4.5 million points, if each had one in all that it passes
    picture = lab.graph(y).svg()
    assert picture.count('class="edge"') == 2 * 3000 - 1  # the first step reads w twice: one edge
    assert len(picture) < 10_000_000


def test_functions_of_ones_own_say_their_gradients() -> None:
    assert lab.graph(Cube.apply(tt.ones(1, requires_grad=True))).nodes[-1].gradient == "dx = 3 * x**2 * grad."
    long = lambda ctx, grad: [  # noqa: E731 - no statement of its own
        grad * 2
    ][0]
    texts = []
    for backward in (lambda ctx, grad: grad * 2, long, operator.methodcaller("mul")):
        members = {"forward": staticmethod(lambda ctx, x: x * 2), "backward": staticmethod(backward)}
        double = type("Double", (tt.Function,), members)
        texts.append(lab.graph(double.apply(tt.ones(1, requires_grad=True))).nodes[-1].gradient)
    assert "lambda ctx, grad: grad * 2" in texts[0]
    assert "lambda ctx, grad: [" in texts[1]
    assert "cannot be read" in texts[2]


def test_graphs_refuse_what_has_none() -> None:
    with pytest.raises(GradError, match="does not require grad"):
        lab.graph(tt.ones(2))
    with pytest.raises(DTypeError, match="output 1 is a int"):
        lab.graph(tt.ones(2, requires_grad=True) * 1, 3)


def test_lines_are_known_in_anomaly_mode() -> None:
    w = tt.ones(2, requires_grad=True)
    with tt.detect_anomaly():
        y = tt.exp(w)
    assert re.search(r"test_graph\.py:\d+$", lab.graph(y).nodes[-1].where)


# ---- values and gradients


@pytest.mark.parametrize("device", DEVICES)
def test_values_and_gradients_are_those_of_a_pass(device) -> None:
    x, y, z = (tt.tensor(v, device=device, requires_grad=True) for v in (2.0, -3.0, 10.0))
    e = x * y
    d = e + z
    f = tt.tanh(d)
    nodes = {n.name: n for n in lab.graph(f, names={"x": x, "y": y, "z": z}, values=True).nodes}
    slope = 1 - np.tanh(4.0) ** 2
    expected = {"x": (2, -3 * slope), "y": (-3, 2 * slope), "z": (10, slope)}
    expected |= {"multiply": (-6, slope), "add": (4, slope), "tanh": (np.tanh(4.0), 1)}
    assert nodes.keys() == expected.keys()
    for name, (value, grad) in expected.items():
        assert float(nodes[name].value) == pytest.approx(value, rel=1e-3), name
        assert float(nodes[name].grad) == pytest.approx(grad, rel=1e-3), name
    assert x.grad is None
    f.backward()
    after = {n.name: n for n in lab.graph(f, names={"x": x, "y": y, "z": z}, values=True).nodes}
    assert (after["x"].grad, after["add"].grad) == (nodes["x"].grad, "")
    assert "value 10" in lab.graph(f, values=True).svg()


def test_the_table_has_values_and_gradients_where_they_were_asked_for() -> None:
    x = tt.tensor([0.5, -2.0], requires_grad=True)
    y = tt.silu(tt.gelu(x, "tanh"))
    loss = y.sum()
    assert "value" not in str(lab.graph(loss))
    head, *rows = str(lab.graph(loss, names={"x": x}, values=True)).splitlines()
    loss.backward()
    v = np.array([0.5, -2.0])
    u = v / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))
    s = 1 / (1 + np.exp(-u))
    numbers = {
        "x": (v, x.grad.numpy()),
        "gelu": (u, s + u * s * (1 - s)),
        "silu": (u * s, [1, 1]),
        "sum": ([(u * s).sum()], [1]),
    }
    at = [head.index(word) for word in ("op", "shape", "value", "gradient", "inputs")]
    found = [[row[a:b].strip() for a, b in pairwise(at)] for row in rows[:-1]]
    assert [row[0] for row in found] == list(numbers)
    for (name, _, *texts), pair in zip(found, numbers.values(), strict=True):
        for text, values in zip(texts, pair, strict=True):
            shown = [float(word) for word in text.strip("[]").split(", ")]
            np.testing.assert_allclose(shown, values, rtol=1e-3, err_msg=name)


def test_values_that_nothing_holds_are_not_shown() -> None:
    w = tt.ones(8, requires_grad=True)
    nodes = lab.graph((w + 1.0).sum(), values=True).nodes
    assert [(n.name, n.value) for n in nodes] == [("leaf", "1 … 1, mean 1"), ("add", ""), ("sum", "16")]
    y = w * 3.0
    z = y * y
    del y
    assert [n.value for n in lab.graph(z.sum(), values=True).nodes] == [
        "1 … 1, mean 1",
        "3 … 3, mean 3",
        "9 … 9, mean 9",
        "72",
    ]
    with pytest.raises(GradError, match="values of 2 outputs"):
        lab.graph(z.sum(), z.sum(), values=True)
    with pytest.raises(GradError, match="needs a gradient"):
        lab.graph(z, values=True)


# ---- pictures


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_page_shows_every_node(name) -> None:
    w, u = leaves("cpu")
    graph = lab.graph(FUNCTIONS[name](w, u), names={"w": w, "<u>": u})
    page = parse(graph.html())
    rows = {row.attributes["id"]: row for row in page.all("tr") if "id" in row.attributes}
    assert list(rows) == [f"node{n.number}" for n in graph.nodes]
    assert {a.attributes["href"] for a in page.all("a")} == {f"#{row}" for row in rows}
    root = ET.fromstring(graph.svg())
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    for node in graph.nodes:
        assert node.name in texts
        assert rows[f"node{node.number}"].children[1].text == node.name


@pytest.mark.parametrize("seed", range(20))
def test_boxes_overlap_nowhere_and_edges_lead_down(seed) -> None:
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 40))
    widths = draw.uniform(20, 150, count).tolist()
    edges = [
        (int(a), int(b)) for a, b in (sorted(draw.choice(count, 2, replace=False)) for _ in range(count - 1))
    ]
    placed = place(widths, edges)
    for a, b in edges:
        assert placed.layer[a] < placed.layer[b]
        route = placed.routes[a, b]
        assert len(route) == placed.layer[b] - placed.layer[a] + 1
        assert (route[0], route[-1]) == (placed.center[a], placed.center[b])
    for row in range(max(placed.layer) + 1):
        boxes = sorted(
            (placed.center[i] - widths[i] / 2, placed.center[i] + widths[i] / 2)
            for i in range(count)
            if placed.layer[i] == row
        )
        assert all(left[1] < right[0] for left, right in pairwise(boxes))
        assert boxes[0][0] >= -1e-6
        assert boxes[-1][1] <= placed.width + 1e-6
        for (a, b), route in placed.routes.items():  # edges run between boxes
            if placed.layer[a] < row < placed.layer[b]:
                x = route[row - placed.layer[a]]
                assert not any(left < x < right for left, right in boxes)


FORMULA = re.compile(r"\b(d[a-z_]+)(?:\[\S*\])? = ")
SIMPLE = (
    "abs acos add asin asinh atan atan2 atanh cos cosh divide erf erfc exp expm1 hypot log log10 log1p log2 "
    "logaddexp multiply negative pow reciprocal remainder rsqrt sigmoid sin sinh softplus sqrt square "
    "subtract tan tanh"
)
NUMPY = ("sqrt", "square", "exp", "log", "sin", "cos", "sinh", "cosh", "hypot", "sign", "where", "isinf")


@pytest.mark.parametrize("name", SIMPLE.split())
def test_formulas_hold(name: str) -> None:
    """Evaluated as they are written, in NumPy, they are what central differences of the op say."""
    op, function = registry[name], getattr(tt, name)
    ins = [np.array([0.3, 0.65, 0.9]), np.array([0.7, 0.2, 0.4])][: len(op.inputs)]
    known = dict(zip(op.inputs, ins, strict=True)) | {"g": np.array([2.0, 3.0, 5.0])}
    known["y"] = function(*map(tt.tensor, ins)).numpy()
    words = {word: getattr(np, word) for word in NUMPY} | {"math": math}
    words["pow"] = np.power
    words["sigmoid"] = lambda x: 1 / (1 + np.exp(-x))
    for line in gradient_text(op).splitlines()[: len(op.steps)]:  # type: ignore[attr-defined]
        step, formula = line.partition(";")[0].split(" = ")
        known[step] = eval(formula, words | known)
    for i, input_ in enumerate(op.inputs):
        ahead, behind = [
            [tt.tensor(a + (step if j == i else 0)) for j, a in enumerate(ins)] for step in (1e-6, -1e-6)
        ]
        slope = (function(*ahead).numpy() - function(*behind).numpy()) / 2e-6
        np.testing.assert_allclose(known[f"d{input_}"], slope * known["g"], rtol=1e-6)


def test_every_op_says_how_its_gradient_is_computed() -> None:
    texts = {name: gradient_text(op) for name, op in registry.items() if hasattr(op, "backward")}
    assert all(texts.values())
    assert not [name for name, text in texts.items() if "cannot be read" in text]
    assert not [name for name, text in texts.items() if not FORMULA.search(text) or "return" in text]
    assert texts["multiply"].startswith("da = g * b\ndb = g * a\nEach is summed over the axes")
    assert texts["layer_norm"].startswith("With h = (x - mean) * rstd")
    assert "dq = scale * dS @ k" in texts["causal_self_attention"]
