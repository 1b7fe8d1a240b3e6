"""Modules: the tree of parameters and buffers, its state, hooks and containers."""

import copy

import numpy as np
import pytest

import tinytensor as tt
from tests.core.test_errors import check_wrong_call
from tests.helpers import cupy_fixtures
from tinytensor import nn

no_gpu = cupy_fixtures.no_gpu  # fixture


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(5, 3)
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 3, bias=False))
        self.head = self.wte
        self.register_buffer("count", tt.tensor([7]))
        self.register_buffer("cache", tt.zeros(2), persistent=False)

    def forward(self, ids):
        return tt.linear(self.body(self.wte(ids)), self.head.weight, transposed=True)


NAMES = ["wte.weight", "body.0.weight", "body.0.bias", "body.2.weight"]


# ---- parameters and the tree -------------------------------------------------------------------------------


def test_a_parameter_is_a_tensor_with_a_mark():
    p = nn.Parameter(tt.zeros(2))
    assert type(p) is tt.Tensor
    assert isinstance(p, nn.Parameter)
    assert p.requires_grad
    assert p.is_leaf
    assert not isinstance(tt.zeros(2, requires_grad=True), nn.Parameter)
    assert not isinstance(p * 2, nn.Parameter)
    assert not isinstance(p.detach(), nn.Parameter)


def test_a_parameter_takes_over_memory_but_not_history_or_strides():
    x = tt.ones(2, 3, requires_grad=True)
    assert nn.Parameter(x).shares_memory(x)
    assert nn.Parameter(x * 2).is_leaf
    p = nn.Parameter(x.T)
    assert p.is_contiguous()
    assert p.shape == (3, 2)
    assert nn.Parameter(tt.zeros(1).expand(4)).is_contiguous()


def test_names_come_in_order_and_shared_ones_once():
    model = Tied()
    assert [n for n, _ in model.named_parameters()] == NAMES
    assert [n for n, _ in model.named_modules()] == ["", "wte", "body", "body.0", "body.1", "body.2"]
    assert [n for n, _ in model.named_buffers()] == ["count", "cache"]
    assert [n for n, _ in model.named_children()] == ["wte", "body", "head"]
    assert model.num_parameters() == 5 * 3 + 3 * 4 + 4 + 4 * 3
    assert [n for n, _ in model.named_parameters("m")] == ["m." + n for n in NAMES]


def test_a_transposed_parameter_is_refused():
    table, head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    with pytest.raises(tt.ShapeError, match=r"Embedding.weight: the parameter was \(5, 3\), .* is \(3, 5\)"):
        table.weight = head.weight
    assert table.weight.shape == (5, 3)
    table.weight = nn.Parameter(table.weight[:2])  # a shorter table
    assert table.weight.shape == (2, 3)
    head.bias = nn.Parameter(tt.zeros(5))
    head.weight = nn.Parameter(tt.zeros(3, 5))  # in its old place
    assert [n for n, _ in head.named_parameters()] == ["weight", "bias"]


def test_attributes_move_between_kinds():
    m = nn.Module()
    m.x = 1
    m.x = nn.Parameter(tt.zeros(2))
    assert [n for n, _ in m.named_parameters()] == ["x"]
    m.x = nn.Linear(1, 1)
    assert [n for n, _ in m.named_parameters()] == ["x.weight", "x.bias"]
    m.x = "text"
    assert list(m.modules()) == [m]
    assert m.x == "text"
    m.register_buffer("x", tt.zeros(1))
    m.x = tt.ones(1)
    assert m.state_dict()["x"].tolist() == [1.0]
    m.x = 3.5  # not a tensor any more: an ordinary attribute
    assert m.state_dict() == {}
    assert m.x == 3.5
    del m.x
    with pytest.raises(AttributeError, match="no attribute 'x'"):
        _ = m.x
    with pytest.raises(AttributeError):
        del m.x


def test_attributes_can_be_listed():
    assert {"wte", "count", "training"} <= set(dir(Tied()))


class Early(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(1, 1)


def within_itself(deep):
    a, b = nn.Module(), nn.Module()
    a.b = b
    (b if deep else a).a = a


REFUSED = [
    (lambda: nn.Parameter(tt.arange(3)), tt.GradError, "Parameter: data of dtype int64"),
    *[(lambda v=v: setattr(nn.Linear(2, 3), "weight", v), tt.ArgumentError, "cannot replace a parameter")
      for v in (tt.zeros(2, 3), np.zeros((2, 3)), 1.0)],
    (Early, tt.ArgumentError, "call super().__init__() first"),
    (lambda: nn.ModuleList()(tt.ones(1)), tt.ArgumentError, "ModuleList: the module has no forward"),
    (lambda: within_itself(False), tt.ArgumentError, "would contain itself"),
    (lambda: within_itself(True), tt.ArgumentError, "would contain itself"),
    (lambda: nn.Module().register_parameter("w", tt.zeros(1)), tt.ArgumentError,
     "register_parameter: w is a Tensor"),
    *[(lambda t=t: nn.Linear(1, 1).to(t), tt.DTypeError, "Module.to: dtype")
      for t in (tt.int32, "int32", tt.bool)],
    (lambda: nn.Linear(1, 1).to("cuda"), tt.DeviceError, ""),
    (lambda: nn.Linear(2, 3).load_state_dict({"weight": tt.zeros(3, 2), "bias": tt.zeros(3)}), tt.ShapeError,
     "torch.nn.Linear: state[name].T"),
    (lambda: nn.ModuleList([nn.ReLU()])[1], tt.IndexRangeError, "index 1"),
    (lambda: nn.ModuleList().append(lambda x: x), tt.ArgumentError, "item 0 is a function"),
    *[(lambda name=name, m=m: nn.ModuleDict({name: m}), tt.ArgumentError, "ModuleDict")
      for name, m in (("b.c", nn.ReLU()), ("", nn.ReLU()), ("forward", nn.ReLU()), ("x", tt.relu))],
    (lambda: nn.ModuleDict()["z"], tt.ArgumentError, "no module 'z'"),
    (lambda: nn.ParameterList([tt.ones(1)])[1], tt.IndexRangeError, "holds 1"),
    (lambda: nn.ParameterList().append(tt.arange(2)), tt.GradError, ""),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "word"), REFUSED, ids=range(len(REFUSED)))
def test_what_a_tree_cannot_hold_is_refused(call, error, word, no_gpu):
    check_wrong_call(call, error, [word])


def test_a_bias_may_be_taken_away():
    layer = nn.Linear(2, 3)
    layer.bias = None
    assert [n for n, _ in layer.named_parameters()] == ["weight"]


def test_train_and_eval_reach_every_module():
    model = Tied()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.body.train()
    assert [m.training for m in model.modules()] == [False, False, True, True, True, True]


def test_apply_visits_children_first_and_once():
    seen = []
    model = Tied()
    assert model.apply(seen.append) is model
    assert len(seen) == 6
    assert seen[-1] is model
    assert seen.index(model.body[0]) < seen.index(model.body)


def test_freezing_and_gradients():
    model = Tied().eval()
    model.body.requires_grad_(False)
    model(tt.tensor([1, 2])).sum().backward()
    assert model.wte.weight.grad is not None
    assert all(p.grad is None for p in model.body.parameters())
    grad = model.wte.weight.grad
    model.zero_grad(set_to_none=False)
    assert model.wte.weight.grad is grad
    assert not grad.any()
    model.zero_grad()
    assert model.wte.weight.grad is None


def test_hooks_see_and_replace():
    layer = nn.Linear(2, 2)
    calls = []
    before = layer.register_forward_pre_hook(lambda m, args: calls.append((m, len(args))))
    after = layer.register_forward_hook(lambda m, args, y: y * 0)
    assert layer(tt.ones(1, 2)).tolist() == [[0.0, 0.0]]
    assert calls == [(layer, 1)]
    before.remove()
    after.remove()
    after.remove()
    x = tt.ones(1, 2)
    with layer.register_forward_pre_hook(lambda m, args: args[0] * 0):
        assert layer(x).tolist() == [layer.bias.tolist()]
    assert layer(x).tolist() != [layer.bias.tolist()]
    assert len(calls) == 1


def test_a_deep_copy_shares_nothing_with_the_original_and_ties_the_same():
    model = Tied()
    twin = copy.deepcopy(model)
    assert twin.head.weight is twin.wte.weight
    assert [n for n, _ in twin.named_parameters()] == NAMES
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in twin.parameters())
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert not a.shares_memory(b)
        assert a.tolist() == b.tolist()


def test_the_picture_shows_names_shapes_and_counts():
    assert repr(Tied()).splitlines() == [
        "Tied()  # 43 parameters",
        "  wte: Embedding(weight (5, 3))  # 15 parameters",
        "  body: Sequential()  # 28 parameters",
        "    0: Linear(weight (3, 4), bias (4,))  # 16 parameters",
        "    1: Dropout(p=0.5)",
        "    2: Linear(weight (4, 3))  # 12 parameters",
        "  head: Embedding(weight (5, 3))  # 15 parameters",
    ]


# ---- to ----------------------------------------------------------------------------------------------------


def test_to_casts_floating_tensors_and_keeps_ties():
    model = Tied()
    before = {n: p.detach().numpy().copy() for n, p in model.named_parameters()}
    assert model.to(tt.float64) is model
    assert model.head.weight is model.wte.weight
    assert model.count.dtype is tt.int64
    assert model.cache.dtype is tt.float64
    for name, p in model.named_parameters():
        assert p.dtype is tt.float64
        assert p.requires_grad
        assert p.is_leaf
        assert isinstance(p, nn.Parameter)
        np.testing.assert_array_equal(p.detach().numpy(), before[name])


def test_a_parameter_that_two_modules_share_stays_one():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    both = nn.ModuleList([a, b]).to(tt.float64)
    assert a.weight is b.weight
    assert [n for n, _ in both.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert list(both.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("target", ["cpu", tt.Device("cpu"), tt.float32, "float32"])
def test_to_where_nothing_changes_keeps_the_tensors(target):
    model = Tied()
    parameters = list(model.parameters())
    model.wte.weight.requires_grad_(False)
    model.to(target)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert not model.wte.weight.requires_grad


def test_to_keeps_frozen_parameters_frozen():
    layer = nn.Linear(1, 1).requires_grad_(False).to(tt.bfloat16)
    assert not any(p.requires_grad for p in layer.parameters())


# ---- state -------------------------------------------------------------------------------------------------


def test_the_state_is_the_modules_own_memory():
    model = Tied()
    state = model.state_dict()
    assert list(state) == [*NAMES, "head.weight", "count"]
    assert state["body.0.bias"].shares_memory(model.body[0].bias)
    assert not any(t.requires_grad for t in state.values())


def test_a_state_round_trip_gives_equal_results():
    a, b = Tied().eval(), Tied().eval()
    ids = tt.tensor([[0, 4, 2]])
    assert a(ids).tolist() != b(ids).tolist()
    pointers = [id(p) for p in b.parameters()]
    assert b.load_state_dict(a.state_dict()) == ([], [])
    assert a(ids).tolist() == b(ids).tolist()
    assert [id(p) for p in b.parameters()] == pointers
    assert all(p.version > 0 for p in b.parameters())


def test_a_state_may_come_as_arrays_of_another_dtype():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[1.0], [2.0]]), "bias": np.array([3.0])})
    assert layer(tt.tensor([1.0, 1.0])).tolist() == [6.0]
    assert layer.weight.dtype is tt.float32


def test_one_name_of_a_shared_parameter_is_enough():
    model, state = Tied(), Tied().state_dict()
    del state["head.weight"]
    assert model.load_state_dict(state) == ([], [])
    assert model.head.weight.tolist() == state["wte.weight"].tolist()


def test_two_names_of_a_shared_parameter_must_agree():
    model, state = Tied(), Tied().state_dict()
    state["head.weight"] = state["wte.weight"] + 1
    with pytest.raises(tt.ArgumentError, match=r"wte\.weight and head\.weight have different values"):
        model.load_state_dict(state)


def test_missing_and_unexpected_names():
    model, state = Tied(), Tied().state_dict()
    before = model.wte.weight.tolist()
    del state["body.0.bias"]
    state["extra"] = tt.zeros(1)
    with pytest.raises(tt.ArgumentError, match=r"missing: body\.0\.bias; unexpected: extra"):
        model.load_state_dict(state)
    assert model.wte.weight.tolist() == before
    assert model.load_state_dict(state, strict=False) == (["body.0.bias"], ["extra"])
    assert model.wte.weight.tolist() == state["wte.weight"].tolist()


def test_a_wrong_shape_changes_nothing():
    model, state = Tied(), Tied().state_dict()
    before = model.wte.weight.tolist()
    state["body.2.weight"] = tt.zeros(4, 4)
    with pytest.raises(tt.ShapeError, match=r"body\.2\.weight is \(4, 4\), not \(4, 3\)"):
        model.load_state_dict(state)
    assert model.wte.weight.tolist() == before


# ---- containers --------------------------------------------------------------------------------------------


def test_lists_index_and_slice():
    layers = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    assert layers[-1] is layers[2]
    assert list(layers[1:]) == [layers[1], layers[2]]
    model = nn.Sequential(*layers)
    assert type(model[:2]) is nn.Sequential
    assert list(model[:2].parameters()) == [*layers[0].parameters(), *layers[1].parameters()]


def test_a_module_dict_registers_by_name():
    heads = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.ReLU()})
    heads.update({"c": nn.Linear(3, 1)})
    assert (len(heads), list(heads), "a" in heads, "z" in heads) == (3, ["a", "b", "c"], True, False)
    assert list(heads.keys()) == list(heads)
    assert [type(m).__name__ for m in heads.values()] == ["Linear", "ReLU", "Linear"]
    assert dict(heads.items())["c"] is heads["c"]
    assert [name for name, _ in heads.named_parameters()] == ["a.weight", "a.bias", "c.weight", "c.bias"]
    del heads["c"]
    assert list(heads.state_dict()) == ["a.weight", "a.bias"]
    heads["a"] = nn.Linear(2, 2)
    assert heads["a"].weight.shape == (2, 2)


def test_a_parameter_list_registers_its_parameters():
    shared = nn.Parameter(tt.ones(2))
    values = nn.ParameterList([shared, tt.zeros(3)]).append(tt.ones(1))
    assert [tuple(p.shape) for p in values] == [(2,), (3,), (1,)]
    assert values[0] is shared
    assert all(p.requires_grad for p in values.parameters())
    assert list(values.state_dict()) == ["0", "1", "2"]
