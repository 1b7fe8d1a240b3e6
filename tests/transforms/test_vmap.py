"""`tt.func.vmap` beside the op table: nesting, transforms, randomness, writes, modules, errors, programs."""

import itertools
from random import Random
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers import op_functions as ops
from tests.helpers.view_programs import BACKWARD_VIEWS, VIEWS, WRITES, Statement, base_shape, draw
from tests.ops.test_view_programs import step
from tinytensor.errors import ArgumentError, DTypeError, ShapeError, TransformError
from tinytensor.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

RNG = np.random.default_rng(0)
W = tt.tensor(RNG.normal(size=(3, 2)))
X = tt.tensor(RNG.normal(size=(5, 3)))
Y = tt.tensor(RNG.normal(size=(5, 2)))


def loss(w: tt.Tensor, x: tt.Tensor, y: tt.Tensor) -> tt.Tensor:
    return ((tt.tanh(x @ w) - y) ** 2).sum()


def loop(function: Any, *batches: tt.Tensor) -> np.ndarray:
    return np.stack([function(*[b[i] for b in batches]).numpy() for i in range(len(batches[0]))])


def near(found: tt.Tensor, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12, atol=1e-13)


# ---- axes and trees ----------------------------------------------------------------------------------------


def test_axes_of_arguments_and_results() -> None:
    f = lambda x, y: (x @ W, y * 2)  # noqa: E731
    a, b = vmap(f, in_dims=(1, -1), out_dims=(-1, 0))(X.T, Y.T)
    near(a, (X.numpy() @ W.numpy()).T)
    near(b, Y.numpy() * 2)
    near(vmap(lambda x: x.sum(), in_axes=1, out_axes=0)(X), X.numpy().sum(0))


def test_trees_and_constants() -> None:
    f = lambda p, scale: {"y": p["x"] * scale + p["b"], "rest": [p["b"]]}  # noqa: E731
    out = vmap(f, in_dims=({"x": 0, "b": None}, None), out_dims={"y": 1, "rest": None})(
        {"x": X, "b": tt.ones(3, dtype=tt.float64)}, 3.0
    )
    near(out["y"], X.numpy().T * 3 + 1)
    assert out["rest"][0].shape == (3,)


SLOPES = [grad(loss)(W, x, y) for x, y in zip(X, Y)]
CALLS: dict[str, tuple[Any, Any]] = {
    "a result without the batch": (lambda: vmap(lambda x: tt.ones(2).double())(X), np.ones((5, 2))),
    "keyword arguments are shared": (lambda: vmap(lambda x, *, y: x * y)(X, y=X[0]), X * X[0]),
    "dropout that does nothing": (lambda: vmap(lambda x: tt.dropout(x, 0.5, training=False))(X), X),
    "functions of NumPy": (lambda: vmap(lambda x: np.exp(x) + np.sum(x))(X), X.exp() + X.sum(1, True)),
    "numbers of NumPy": (lambda: vmap(lambda x: np.float64(2.0) * x)(X), X * 2),
    "gradients of each sample": (lambda: vmap(grad(loss), (None, 0, 0))(W, X, Y), tt.stack(SLOPES)),
    "gradient of a batch": (lambda: grad(lambda w: vmap(loss, (None, 0, 0))(w, X, Y).sum())(W), sum(SLOPES)),
    **{f"chunks of {n}": (lambda n=n: vmap(lambda x: x @ W, out_dims=1, chunk_size=n)(X), (X @ W).T)
       for n in (1, 2, 5, 9)},
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_what_a_loop_gives(name: str) -> None:
    call, wanted = CALLS[name]
    near(call(), np.asarray(wanted))


def test_nested() -> None:
    outer = vmap(vmap(lambda a, b: a @ b, in_dims=(None, 0)), in_dims=(0, None))
    near(outer(X, X), X.numpy() @ X.numpy().T)
    three = vmap(vmap(vmap(lambda x, y: x * y + x, (0, None)), (None, 0)), (0, None))
    x, y = X.reshape(5, 3), Y
    wanted = np.array([[[a * c + a for a in row] for c in Y.numpy().ravel()] for row in X.numpy()])
    near(three(x, y.reshape(-1)), wanted)


def test_views_of_a_sample_are_views_of_the_batch() -> None:
    def f(x: tt.Tensor) -> tt.Tensor:
        y = x.reshape(3, 4)
        y[1:, ::2] = 0.0
        y.T[0] += 1.0
        return x

    x = tt.tensor(RNG.normal(size=(2, 12)))
    wanted = x.numpy().copy()
    for one in wanted.reshape(2, 3, 4):
        one[1:, ::2] = 0
        one.T[0] += 1
    found = vmap(f)(x)
    near(found, wanted)
    near(x, wanted)  # the argument was written, too


def test_empty_batch() -> None:
    assert vmap(lambda x: (x @ W).exp())(X[:0]).shape == (0, 2)
    assert vmap(lambda x: tt.searchsorted(x, x))(X[:0]).shape == (0, 3)


# ---- with other transforms ---------------------------------------------------------------------------------


def test_leaves_outside_get_their_gradient_by_backward() -> None:
    w = W.detach().requires_grad_()
    vmap(loss, (None, 0, 0))(w, X, Y).sum().backward()
    near(w.grad, loop(lambda x, y: grad(loss)(W, x, y), X, Y).sum(0))


f3 = lambda x: tt.sin(x).sum() * x**3  # noqa: E731


@pytest.mark.parametrize(
    "of",
    [
        jacrev(f3),
        jacfwd(f3),
        hessian(lambda x: f3(x).sum()),
        jacrev(jacrev(f3)),
        jacfwd(jacrev(f3)),
        grad(lambda x: jacrev(f3)(x).sum()),
        lambda x: jvp(f3, (x,), (tt.cos(x),))[1],
        lambda x: vjp(f3, x)[1](tt.cos(x))[0],
        lambda x: jacrev(lambda z: vmap(tt.exp)(z) * z)(x),
        lambda x: tt.checkpoint(lambda z: tt.tanh(z) * z, x),
        grad(lambda x: tt.checkpoint(lambda z: (tt.tanh(z) * z).sum(), x)),
        jacrev(lambda x: tt.checkpoint(lambda z: tt.tanh(z) * z, x)),
    ],
    ids=itertools.count(),
)
def test_inside(of: Any) -> None:
    near(vmap(of)(X), loop(of, X))


@pytest.mark.parametrize("transform", [jacrev, jacfwd])
def test_around(transform: Any) -> None:
    f = lambda x: vmap(lambda row: tt.softmax(row, -1) @ W)(x)  # noqa: E731
    plain = lambda x: tt.softmax(x, -1) @ W  # noqa: E731
    near(transform(f)(X), transform(plain)(X).numpy())
    near(transform(transform(f))(X), transform(transform(plain))(X).numpy())
    near(
        transform(lambda x: f(tt.checkpoint(f, x) @ W.T))(X),
        transform(lambda x: plain(plain(x) @ W.T))(X).numpy(),
    )


def test_a_checkpoint_inside_is_recomputed_after_vmap_has_returned() -> None:
    w = W.detach().requires_grad_()
    each = vmap(lambda x: tt.checkpoint(lambda z: tt.tanh(z @ w) ** 2 * x.sum(), x))(X)
    each.sum().backward()
    wanted = grad(lambda w: (tt.tanh(X @ w) ** 2 * X.sum(1, keepdims=True)).sum())(W)
    near(w.grad, wanted.numpy())


def test_autocast() -> None:
    x, w = X.astype(tt.float32), W.astype(tt.float32)
    with tt.autocast(tt.bfloat16):
        found = vmap(lambda one: one @ w)(x)
        wanted = x @ w
    assert found.dtype is tt.bfloat16
    np.testing.assert_array_equal(found.astype(tt.float32).numpy(), wanted.astype(tt.float32).numpy())


class Cube(tt.Function):
    @staticmethod
    def forward(ctx: Any, x: tt.Tensor) -> tt.Tensor:
        ctx.save_for_backward(x)
        return tt.tensor(x.detach().numpy() ** 3)

    @staticmethod
    def backward(ctx: Any, g: tt.Tensor) -> tt.Tensor:
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class CubeWithRule(Cube):
    calls = 0

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: tt.Tensor) -> Any:
        assert (info.batch_size, info.randomness, in_dims) == (5, "error", (0,))
        CubeWithRule.calls += 1
        return Cube.apply(x), 0


@pytest.mark.parametrize("cls", [Cube, CubeWithRule])
def test_functions_of_the_user(cls: Any) -> None:
    near(vmap(cls.apply)(X), X.numpy() ** 3)
    near(vmap(grad(lambda x: cls.apply(x).sum()))(X), 3 * X.numpy() ** 2)
    near(grad(lambda x: vmap(cls.apply)(x).sum())(X), 3 * X.numpy() ** 2)
    near(jacrev(Cube.apply)(X[0]), np.diag(3 * X.numpy()[0] ** 2))


class SumAndDifference(tt.Function):
    @staticmethod
    def forward(ctx: Any, x: tt.Tensor, y: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor]:
        return x + y, x - y

    @staticmethod
    def backward(ctx: Any, a: tt.Tensor, b: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor]:
        return a + b, a - b

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: tt.Tensor, y: tt.Tensor) -> Any:
        return SumAndDifference.apply(x.T, y.T), 1  # the axis of both


def test_a_rule_may_name_one_axis_for_all_results() -> None:
    total, difference = vmap(SumAndDifference.apply)(X, X * X)
    near(total, X.numpy() + X.numpy() ** 2)
    near(difference, X.numpy() - X.numpy() ** 2)


def test_the_rule_of_a_function_is_called_once() -> None:
    before = CubeWithRule.calls
    vmap(CubeWithRule.apply)(X)
    assert CubeWithRule.calls == before + 1


# ---- random numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: tt.rand(4),
        lambda x: tt.randint(0, 1000, (4,)),
        lambda x: tt.permutation(50),
        lambda x: tt.bernoulli(x * 0 + 0.5),
        lambda x: tt.multinomial(x.exp(), 20, replacement=True),
        lambda x: tt.dropout(tt.ones(40), 0.5),
        lambda x: tt.dropout(x.sum() * 0 + tt.ones(40), 0.5),
    ],
)
def test_randomness(draw: Any) -> None:
    x = tt.ones(3, 40)
    with pytest.raises(TransformError, match="random"):
        vmap(draw)(x)
    different = vmap(draw, randomness="different")(x).tolist()
    assert different[0] != different[1] != different[2]
    same = vmap(draw, randomness="same")(x).tolist()
    assert same[0] == same[1] == same[2]


def test_different_draws_are_those_of_one_call() -> None:
    tt.manual_seed(3)
    found = vmap(vmap(lambda x: tt.randn(2), randomness="different"), randomness="different")(tt.ones(4, 5))
    tt.manual_seed(3)
    np.testing.assert_array_equal(found.numpy(), tt.randn(4, 5, 2).numpy())


# ---- modules -----------------------------------------------------------------------------------------------


def test_gradients_of_each_sample_of_a_gpt_block() -> None:
    nn = tt.nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(tt.randn(7, 8) * 0.1)
            self.norm, self.final = nn.LayerNorm(8), nn.RMSNorm(8)
            self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

        def forward(self, tokens: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
            x = ops.embedding(self.table, tokens)
            x = x + self.out(tt.causal_self_attention(self.qkv(self.norm(x)), 2))
            x = x + tt.linear_gelu(self.final(x), self.out.weight)
            return ops.cross_entropy(tt.linear(x, self.table, transposed=True), targets)

    model = Block()
    tokens, targets = tt.randint(0, 7, (3, 1, 5)), tt.randint(0, 7, (3, 1, 5))
    params = {name: p.detach() for name, p in model.named_parameters()}
    one = lambda params, *data: functional_call(model, params, data)  # noqa: E731
    each = vmap(grad(one), in_dims=(None, 0, 0))(params, tokens, targets)
    for i in range(3):
        model.zero_grad()
        model(tokens[i], targets[i]).backward()
        for name, p in model.named_parameters():
            np.testing.assert_allclose(each[name][i].numpy(), p.grad.numpy(), rtol=1e-3, atol=1e-6)


def test_ensembles() -> None:
    models = [tt.nn.Linear(3, 2) for _ in range(4)]
    params, buffers = stack_module_state(models)
    assert not buffers
    assert all(p.requires_grad for p in params.values())
    x = X.astype(tt.float32)
    found = vmap(lambda p, x: functional_call(models[0], p, x), in_dims=(0, None))(params, x)
    for y, model in zip(found, models, strict=True):
        np.testing.assert_allclose(y.detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    found.sum().backward()
    assert params["weight"].grad is not None


def test_a_functional_call_leaves_the_module_as_it_was() -> None:
    model = tt.nn.Linear(3, 2)
    own = model.weight
    with pytest.raises(ZeroDivisionError):
        functional_call(model, {"weight": own * 2}, kwargs={"x": 1 / 0})
    assert model.weight is own
    with pytest.raises(ArgumentError, match="wait"):
        functional_call(model, {"wait": own}, X)
    tied = tt.nn.Sequential(tt.nn.Linear(3, 3), tt.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    zero = {"0.weight": tt.zeros(3, 3), "0.bias": tt.zeros(3), "1.bias": tt.zeros(3)}
    assert functional_call(tied, zero, tt.ones(1, 3)).tolist() == [[0.0, 0.0, 0.0]]


# ---- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "writes",
    [
        lambda t, x: t.copy_(x),
        lambda t, x: t.__iadd__(x),
        lambda t, x: t.__setitem__(0, x[0]),
        lambda t, x: t.__setitem__(tt.tensor([0, 1]), x[:2]),
        lambda t, x: t.__setitem__((x * 0).astype(tt.int64), 1.0),
    ],
    ids=itertools.count(),
)
def test_a_shared_tensor_cannot_be_written(writes: Any) -> None:
    target = tt.zeros(3, dtype=tt.float64)
    with pytest.raises(TransformError, match="not batched"):
        vmap(lambda x: writes(target, x))(X)
    assert target.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.sin_(),
        lambda x: x.clamp_(0.0, 1.0),
        lambda x: x.masked_fill_(x > 0, 0.5),
        lambda x: x.scatter_add_(0, (x > 0).astype(tt.int64), x * 2),
        lambda x: x.fill_(2.0),
        lambda x: x.lerp_(x * 2, 0.25),
        lambda x: x.copy_(x.flip()),
        lambda x: (x.__setitem__(x > 0, 0.5), x)[1],
    ],
)
def test_methods_in_place(write: Any) -> None:
    f = lambda x: write(x * 1.0)  # noqa: E731
    near(vmap(f)(X), loop(f, X))
    slope = grad(lambda x: (write(x * 1.0) * x).sum())
    near(vmap(slope)(X), loop(slope, X))


def test_a_gradient_that_is_asked_for_inside_is_asked_for_there_alone() -> None:
    def f(x: tt.Tensor) -> tt.Tensor:
        x.requires_grad_()
        return tt.grad((x**3).sum(), x)[0]

    for axis in (0, 1):
        x = X.detach()
        np.testing.assert_allclose(vmap(f, in_dims=axis, out_dims=axis)(x).numpy(), 3 * x.numpy() ** 2)
        assert not x.requires_grad


V, J = tt.tensor(np.arange(6.0).reshape(2, 3)), tt.tensor([[2, 0, 1], [1, 2, 0]])
ROOM = tt.arange(12.0).astype(tt.float64).reshape(4, 3)


@pytest.mark.parametrize(
    "write",
    [
        lambda x, i: tt.diag(x, 1),
        lambda x, i: tt.scatter(ROOM, 0, i[None], x[None]),
        lambda x, i: tt.scatter(ROOM, 1, i[None], 7.0),
    ],
)
def test_written_copies_of_what_is_shared(write: Any) -> None:
    wanted = np.stack([write(V[i], J[i]).numpy() for i in range(2)])
    np.testing.assert_allclose(vmap(write)(V, J).numpy(), wanted)
    nested = vmap(vmap(write, in_dims=(None, 0)), in_dims=(0, None))(V, J)
    for i, j in ((0, 1), (1, 0)):
        np.testing.assert_allclose(nested[i, j].numpy(), write(V[i], J[j]).numpy())


@pytest.mark.parametrize("triangle", [tt.tril, tt.triu])
def test_what_one_sample_does_not_fit_raises(triangle: Any) -> None:
    for batch in (V, V[:0]):
        with pytest.raises(tt.ShapeError, match="no last two axes"):
            vmap(triangle)(batch)


@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_index_outside_of_its_own_sample_raises(wrong: int) -> None:
    tables, index = tt.ones(2, 4, 3), tt.tensor([[0, 1], [3, wrong]])
    with pytest.raises(IndexError):
        vmap(ops.embedding)(tables, index)
    with pytest.raises(IndexError):
        vmap(lambda x, i: x[i])(tables, index * 5)


def test_a_target_like_a_sample_can_be_written() -> None:
    def f(x: tt.Tensor) -> tt.Tensor:
        y = tt.zeros_like(x)
        y[1:] = x[:-1]
        y[tt.tensor([0])] = x[2]
        return y

    def g(x: tt.Tensor) -> tt.Tensor:
        parts = [x.new_zeros(3), x.new_full((3,), 2.0), x.new_ones((3,))]
        for part in parts:
            part += x
        return parts[0] + parts[1] + parts[2] + tt.tensor([1.0, 2.0, 3.0])

    near(vmap(g)(X), 3 * X.numpy() + [4.0, 5.0, 6.0])
    near(vmap(f)(X), np.roll(X.numpy(), 1, 1))
    near(vmap(grad(lambda x: (f(x) ** 2).sum()))(X), 2 * X.numpy())


def test_a_batched_tensor_outside() -> None:
    kept: list[tt.Tensor] = []
    vmap(lambda x: kept.append(x) or x)(X)
    assert "batched" in repr(kept[0])
    for use in (
        lambda t: t + 1,
        lambda t: t.T,
        lambda t: t.exp(),
        lambda t: t.copy_(0.0),
        lambda t: t.detach(),
    ):
        with pytest.raises(TransformError, match="returned"):
            use(kept[0])


SHARED = W.detach().requires_grad_()
READS: list[Any] = [  # elements of a sample
    lambda x: x.sum().item(),
    lambda x: x if x.sum() > 0 else -x,
    lambda x: x.numpy(),
    lambda x: x.tolist(),
    lambda x: float(x[0]),
    lambda x: x[x > 0],
    lambda x: tt.nonzero(x),
    lambda x: range(x[0].astype(tt.int64)),
    lambda x: np.asarray(x),
    lambda x: x.storage.buffer,
]


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        *[(lambda reads=reads: vmap(reads)(X), TransformError, "elements") for reads in READS],
        (lambda: vmap(lambda x: (x @ SHARED).sum().backward())(X), TransformError, "backward"),
        (lambda: vmap(lambda x: (x @ SHARED).register_hook(print))(X), TransformError, "inside of vmap"),
        (lambda: vmap(lambda x: (x @ SHARED).retain_grad())(X), TransformError, "inside of vmap"),
        (lambda: vmap(lambda x: tt.grad((x @ SHARED).sum(), SHARED)[0])(X), TransformError, "share"),
        (lambda: vmap(Cube.apply)(X[:0]), TransformError, "empty"),
        (lambda: vmap(lambda x, y: x)(X, X.T), ShapeError, "5, 3"),
        (lambda: vmap(lambda x: x, in_dims=None)(X), ArgumentError, "no argument"),
        (lambda: vmap(lambda x: x, in_dims=2)(X), ShapeError, "axis 2"),
        (lambda: vmap(lambda x, y: x, in_dims=(0,))(X, X), ArgumentError, "in_dims"),
        (lambda: vmap(lambda x: (x, x), out_dims=(0, 0, 0))(X), ArgumentError, "out_dims"),
        (lambda: vmap(lambda x: x, out_dims=None)(X), ArgumentError, "differs"),
        (lambda: vmap(lambda x: 1.0)(X), ArgumentError, "float"),
        (lambda: vmap(lambda x: x, randomness="some"), ArgumentError, "randomness"),
        (lambda: vmap(lambda x: x, chunk_size=0), ArgumentError, "chunk_size"),
        (lambda: vmap(lambda x: x + "a")(X), DTypeError, "add"),
        (lambda: stack_module_state([tt.nn.Linear(2, 3), tt.nn.Linear(3, 2)]), ArgumentError, "be stacked"),
    ],
    ids=itertools.count(),
)
def test_wrong_calls(call: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        call()


PROGRAMS = 4_000 if FULL else 150
CHUNK = 50
KINDS = VIEWS * 2 + BACKWARD_VIEWS * 2 + WRITES


def program(seed: int) -> tuple[tuple[int, ...], list[Statement]]:
    """A shape, and statements that run on a tensor of this shape while gradients are recorded."""
    rnd = Random(seed)
    shape = base_shape(rnd)
    variables = [tt.ones(*shape, dtype=tt.float64, requires_grad=True) * 1.0]
    statements: list[Statement] = []
    for _ in range(rnd.randint(4, 12)):
        if (s := draw(rnd, KINDS, [t.shape for t in variables])) is None:
            continue
        try:
            step(variables, s)
        except tt.GradError:  # the target overlaps itself, or is one of several views
            continue
        statements.append(s)
    return shape, statements


def result(statements: list[Statement], x: tt.Tensor) -> tt.Tensor:
    """A number that depends on all variables at the end of a program."""
    variables = [x * 1.0]
    for s in statements:
        step(variables, s)
    return sum((v * v).sum() * (i + 1) for i, v in enumerate(variables))  # type: ignore[return-value]


@pytest.mark.parametrize("start", range(0, PROGRAMS, CHUNK))
def test_programs_of_views_and_writes(start: int) -> None:
    for seed in range(start, start + CHUNK):
        shape, statements = program(seed)
        f = lambda x, statements=statements: result(statements, x)  # noqa: E731
        try:
            f(tt.ones(*shape, dtype=tt.float64, requires_grad=True))
        except tt.GradError:  # it reads one of several views after a write to their base
            continue
        xs = tt.tensor(np.random.default_rng(seed).normal(size=(2, 3, *shape)))
        slope = lambda x, f=f: jvp(f, (x,), (x * x,))[1]  # noqa: E731
        for g in (f, grad(f), slope)[: 3 if seed % 5 == 0 else 2]:
            wanted = np.stack([np.stack([g(x).numpy() for x in row]) for row in xs])
            found = vmap(vmap(g, in_dims=-1), in_dims=1)(xs.moveaxis(1, -1).moveaxis(0, 1)).numpy()
            np.testing.assert_allclose(
                found,
                wanted,
                rtol=1e-9,
                atol=1e-9,
                err_msg=f"seed {seed}, {shape}: {', '.join(map(str, statements))}",
            )
