"""Recurrent modules: RNN, LSTM and GRU, and their cells, of one step."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any, ClassVar, Literal

import tinytensor.api as tt
from tinytensor.nn import init
from tinytensor.nn.module import Module, Parameter, check_share, check_size

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

State = tuple[tt.Tensor, ...]  # (h,) or (h, c), each (N, H)
Step = Callable[[tt.Tensor, tt.Tensor, State], State]
"""(gates from the input, gates from the state, state) → the next state; gates (N, gates * H)."""


def _tanh(x: tt.Tensor, h: tt.Tensor, state: State) -> State:
    return (tt.tanh(x + h),)


def _relu(x: tt.Tensor, h: tt.Tensor, state: State) -> State:
    return (tt.relu(x + h),)


def _lstm(x: tt.Tensor, h: tt.Tensor, state: State) -> State:
    i, f, g, o = tt.chunk(x + h, 4, -1)
    c = tt.sigmoid(f) * state[1] + tt.sigmoid(i) * tt.tanh(g)
    return tt.sigmoid(o) * tt.tanh(c), c


def _gru(x: tt.Tensor, h: tt.Tensor, state: State) -> State:
    (rx, zx, nx), (rh, zh, nh) = tt.chunk(x, 3, -1), tt.chunk(h, 3, -1)
    n = tt.tanh(nx + tt.sigmoid(rx + rh) * nh)
    return (n + tt.sigmoid(zx + zh) * (state[0] - n),)


class _Recurrent(Module):
    """Base class: sizes, and the four parameters of a step."""

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1
    step: Step

    def __init__(self, input_size: int, hidden_size: int, bias: bool) -> None:
        super().__init__()
        self.input_size = check_size(type(self).__name__, "input_size", input_size)
        self.hidden_size = check_size(type(self).__name__, "hidden_size", hidden_size)
        self.bias = bias

    def _set_nonlinearity(self, nonlinearity: str) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise tt.ArgumentError(
                f"{type(self).__name__}: nonlinearity {nonlinearity!r}",
                why='it is "tanh" or "relu"',
                fix='nonlinearity="tanh"',
            )
        self.nonlinearity = nonlinearity
        self.step = _tanh if nonlinearity == "tanh" else _relu

    def _add(self, suffix: str, inputs: int, generator: tt.Generator | None) -> None:
        """Parameters weight_ih (gates * H, inputs), weight_hh (gates * H, H), and two biases."""
        rows, bound = self.gates * self.hidden_size, 1 / sqrt(self.hidden_size)
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, self.hidden_size),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        for name, shape in shapes.items():
            weight = Parameter(tt.empty(*shape))
            setattr(self, name + suffix, init.uniform_(weight, -bound, bound, generator=generator))

    def _weights(self, suffix: str) -> list[Any]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, name + suffix) if self.bias or name[0] == "w" else None for name in names]

    def _start(self, x: tt.Tensor, *shape: int) -> State:
        return tuple([tt.zeros(*shape, dtype=x.dtype, device=x.device) for _ in range(self.states)])

    def _check_width(self, x: tt.Tensor, ranks: tuple[int, ...]) -> None:
        if x.ndim not in ranks or x.shape[-1] != self.input_size:
            raise tt.ShapeError(
                f"{type(self).__name__}: the input has shape {x.shape}",
                why=f"it has {ranks[0]} or {ranks[1]} axes, the last of size input_size = {self.input_size}",
                fix="x.unsqueeze(-1) if each step is one number"
                if self.input_size == 1 or x.ndim not in ranks
                else f"{type(self).__name__}(input_size={x.shape[-1]}, ...) for this x",
            )

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.input_size}, {self.hidden_size}"


class _Cell(_Recurrent):
    """Base class of the cells."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        self._add("", input_size, generator)
        self.to(device, dtype)

    def forward(self, x: tt.Tensor, hx: Any = None) -> Any:
        """One step: x (N, input_size) or (input_size,), state (N, H) or (H,) → the next state."""
        self._check_width(x, (1, 2))
        state = (hx if self.states > 1 else (hx,)) if hx is not None else None
        state = state or self._start(x, *x.shape[:-1], self.hidden_size)
        w_ih, w_hh, b_ih, b_hh = self._weights("")
        state = self.step(tt.linear(x, w_ih, b_ih), tt.linear(state[0], w_hh, b_hh), state)
        return state if self.states > 1 else state[0]


class RNNCell(_Cell):
    """One step of an RNN: h' = tanh(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh).

    Shapes:
        x (N, input_size), h (N, H), default 0 → (N, H); or without N.

    >>> tt.nn.RNNCell(3, 4)(tt.ones(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype, generator=generator)
        self._set_nonlinearity(nonlinearity)


class LSTMCell(_Cell):
    """One step of an LSTM: c' = f * c + i * g, h' = o * tanh(c'); gates i, f, g, o in this order.

    Shapes:
        x (N, input_size), (h, c) of (N, H), default 0 → (h', c'); or without N.

    Source: Hochreiter, Schmidhuber 1997, "Long short-term memory"; the forget gate of Gers et al. 2000.

    >>> h, c = tt.nn.LSTMCell(3, 4)(tt.ones(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates, states, step = 4, 2, staticmethod(_lstm)


class GRUCell(_Cell):
    """One step of a GRU: h' = (1 - z) * n + z * h; gates r, z, n in this order.

    n = tanh(x @ w.T + b + r * (h @ u.T + d)): the reset gate is applied after the product.

    Shapes:
        x (N, input_size), h (N, H), default 0 → (N, H); or without N.

    Source: Cho et al. 2014, arXiv:1406.1078.

    >>> tt.nn.GRUCell(3, 4)(tt.ones(2, 3)).shape
    (2, 4)
    """

    gates, step = 3, staticmethod(_gru)


class _Layers(_Recurrent):
    """Base class of RNN, LSTM and GRU: layers of a step over time, in one or two directions."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        self.num_layers = check_size(type(self).__name__, "num_layers", num_layers)
        self.dropout = check_share(type(self).__name__, "dropout", dropout)
        self.batch_first, self.bidirectional, self.generator = batch_first, bidirectional, generator
        self.suffixes = [
            [f"_l{layer}{way}" for way in ("", "_reverse")[: 1 + bidirectional]]
            for layer in range(num_layers)
        ]
        for layer, suffixes in enumerate(self.suffixes):
            for suffix in suffixes:
                self._add(suffix, len(suffixes) * hidden_size if layer else input_size, generator)
        self.to(device, dtype)

    def forward(self, x: tt.Tensor, hx: Any = None) -> Any:
        """All steps of a sequence.

        Args:
            x: (L, N, input_size), with batch_first (N, L, input_size), or (L, input_size).
            hx: the first state h0 (layers * directions, N, H), for LSTM (h0, c0); default 0.

        Returns:
            The last layer's h of all steps (L, N, directions * H), in the order of x, and the last state.
        """
        self._check_width(x, (2, 3))
        given = hx if hx is None or self.states > 1 or isinstance(hx, tuple) else (hx,)
        if x.ndim == 2:
            given = None if given is None else tuple([s.unsqueeze(1) for s in given])
            y, last = self._run(x.unsqueeze(1), given)
            y, last = y.squeeze(1), tuple([s.squeeze(1) for s in last])
        else:
            y, last = self._run(x.transpose(0, 1) if self.batch_first else x, given)
            y = y.transpose(0, 1) if self.batch_first else y
        return y, last if self.states > 1 else last[0]

    def _run(self, x: tt.Tensor, start: Any) -> tuple[tt.Tensor, State]:
        """(L, N, input_size) → (L, N, directions * H), and the last state."""
        count = sum([len(suffixes) for suffixes in self.suffixes])
        shape = (count, x.shape[1], self.hidden_size)
        start = self._start(x, *shape) if start is None else start
        if len(start) != self.states or any([s.shape != shape for s in start]):
            raise tt.ShapeError(
                f"{type(self).__name__}: the first state has shapes {[s.shape for s in start]}",
                why=f"it has {self.states}, (layers * directions, N, H) = {shape} here",
                fix="leave it out to start at 0",
            )
        last: list[State] = []
        for layer, suffixes in enumerate(self.suffixes):
            if layer and self.dropout:
                x = tt.dropout(x, self.dropout, self.training, generator=self.generator)
            ways = []
            for suffix in suffixes:
                outs, state = self._direction(x, tuple([s[len(last)] for s in start]), suffix)
                ways.append(outs)
                last.append(state)
            x = ways[0] if len(ways) == 1 else tt.concat(ways, -1)
        return x, tuple([tt.stack(s) for s in zip(*last, strict=True)])

    def _direction(self, x: tt.Tensor, state: State, suffix: str) -> tuple[tt.Tensor, State]:
        """One layer in one direction: (L, N, inputs) → (L, N, H), and the last state."""
        w_ih, w_hh, b_ih, b_hh = self._weights(suffix)
        gates = tt.unbind(tt.linear(x, w_ih, b_ih))  # of all steps at once
        back = -1 if suffix.endswith("_reverse") else 1
        outs = []
        for gate in gates[::back]:
            state = self.step(gate, tt.linear(state[0], w_hh, b_hh), state)
            outs.append(state[0])
        return tt.stack(outs[::back]), state

    def extra_repr(self) -> str:
        """Sizes and options."""
        options = ("num_layers", "batch_first", "dropout", "bidirectional")
        usual = (1, False, 0.0, False)
        shown = [
            f"{k}={getattr(self, k)}" for k, v in zip(options, usual, strict=True) if getattr(self, k) != v
        ]
        return ", ".join([super().extra_repr(), *shown])


class RNN(_Layers):
    """Layers of h' = tanh(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh) over time.

    Args:
        batch_first: whether the batch is axis 0, not 1, of inputs and outputs (not of states).

    Shapes:
        x (L, N, input_size), h0 (layers * directions, N, H) → (L, N, directions * H) and the last h.
        Parameters are weight_ih_l0 (H, input_size), weight_hh_l0 (H, H), bias_ih_l0 (H,), bias_hh_l0 (H,),
        ..._l1, and ..._l0_reverse: PyTorch's names and shapes.

    Source: Elman 1990, "Finding structure in time"; initial values from U(-1/sqrt(H), 1/sqrt(H)).

    >>> y, h = tt.nn.RNN(3, 4, num_layers=2)(tt.ones(5, 1, 3))
    >>> y.shape, h.shape
    ((5, 1, 4), (2, 1, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        place: Any = {"device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, *options, **place, generator=generator)
        self._set_nonlinearity(nonlinearity)


class LSTM(_Layers):
    """Layers of LSTM steps over time: see `RNN` for arguments, and `LSTMCell` for a step.

    Shapes:
        x (L, N, input_size), (h0, c0) of (layers * directions, N, H) → (L, N, directions * H) and the last
        (h, c); weights (4 * H, ...), the gates in the order i, f, g, o.

    >>> y, (h, c) = tt.nn.LSTM(3, 4, batch_first=True, bidirectional=True)(tt.ones(1, 5, 3))
    >>> y.shape, h.shape, c.shape
    ((1, 5, 8), (2, 1, 4), (2, 1, 4))
    """

    gates, states, step = 4, 2, staticmethod(_lstm)


class GRU(_Layers):
    """Layers of GRU steps over time: see `RNN` for arguments, and `GRUCell` for a step.

    Shapes:
        x (L, N, input_size), h0 (layers * directions, N, H) → (L, N, directions * H) and the last h; weights
        (3 * H, ...), the gates in the order r, z, n.

    >>> y, h = tt.nn.GRU(3, 4)(tt.ones(5, 1, 3))
    >>> y.shape, h.shape
    ((5, 1, 4), (1, 1, 4))
    """

    gates, step = 3, staticmethod(_gru)
