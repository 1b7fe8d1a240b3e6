"""Module: base class of layers and models, a tree of parameters, buffers and submodules; Parameter."""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self, TypeGuard, TypeVar

import tinytensor.api as tt
from tinytensor.argument_errors import MODULE, named_otherwise, translate_keywords
from tinytensor.autograd.hooks import Removable
from tinytensor.events import around, observers

__all__ = ["Module", "Parameter", "as_module"]

T = TypeVar("T")
_KINDS = ("_parameters", "_modules", "_buffers")  # of attributes; no name is in two of them
Hook = Callable[..., Any]


class _Marked(type):
    """Makes isinstance(x, Parameter) test the mark; there are no Parameter objects."""

    def __instancecheck__(cls, x: object) -> bool:
        return is_parameter(x)


class Parameter(metaclass=_Marked):
    """Mark a tensor as a parameter: a leaf that requires grad, found by the module it is assigned to.

    The result is a plain Tensor with a mark, not a subclass: ops test `type(x) is Tensor` on their fast path,
    which parameters take more often than any other tensor. So annotate it as `tt.Tensor`.

    Args:
        data: the initial values, any shape, floating; shares their memory if it is contiguous.
        requires_grad: False freezes it.

    >>> weight = tt.nn.Parameter(tt.zeros(2, 3))
    >>> isinstance(weight, tt.nn.Parameter), weight.requires_grad
    (True, True)
    """

    def __new__(cls, data: Any, requires_grad: bool = True) -> Any:
        """Return a marked tensor; this class has no instances."""
        source = tt.asarray(data)
        if not source.dtype.is_floating:
            raise tt.GradError(
                f"Parameter: data of dtype {source.dtype}",
                why="parameters are learned by gradients, which only floating tensors have",
                fix="cast first: data.astype(tt.float32), or use module.register_buffer",
            )
        parameter = source.detach().contiguous()
        parameter.requires_grad_(requires_grad)
        parameter._parameter = True  # slot of Tensor for the mark, which copies inherit
        return parameter


def is_parameter(x: object) -> TypeGuard[tt.Tensor]:
    """Whether x is a tensor marked as a parameter."""
    return isinstance(x, tt.Tensor) and getattr(x, "_parameter", False)


class Module:
    """Base class of layers and models: assign parameters and modules to attributes, and define `forward`.

    Attributes:
        training: whether dropout and the like are active; set by `train()` and `eval()`.

    >>> class Double(tt.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = tt.nn.Parameter(tt.full((1,), 2.0))
    ...     def forward(self, x):
    ...         return x * self.scale
    >>> Double()(tt.ones(2)).tolist()
    [2.0, 2.0]
    >>> Double()
    Double(scale (1,))  # 1 parameter
    """

    training: bool
    _parameters: dict[str, tt.Tensor | None]
    _buffers: dict[str, tt.Tensor | None]
    _modules: dict[str, Module]
    _transient: set[str]  # buffers excluded from state_dict()
    _hooks: list[Hook]
    _pre_hooks: list[Hook]

    def __init__(self) -> None:
        # object.__setattr__: the dictionaries must exist before __setattr__ can sort attributes into them
        for name, empty in (("_parameters", {}), ("_buffers", {}), ("_modules", {}), ("_transient", set())):
            object.__setattr__(self, name, empty)
        object.__setattr__(self, "_hooks", [])
        object.__setattr__(self, "_pre_hooks", [])
        object.__setattr__(self, "training", True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; defined by subclasses."""
        raise tt.ArgumentError(
            f"{type(self).__name__}: the module has no forward function",
            why="calling a module calls its forward",
            fix=f"define forward(self, x) in {type(self).__name__}",
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call forward and the hooks."""
        if not observers and not self._pre_hooks and not self._hooks:
            return self.forward(*args, **kwargs)
        return around("module", self, run=partial(self._called, args, kwargs))

    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for before in tuple(self._pre_hooks):
            replaced = before(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        result = self.forward(*args, **kwargs)
        for after in tuple(self._hooks):
            replaced = after(self, args, result)
            if replaced is not None:
                result = replaced
        return result

    # ---- attributes -------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise tt.ArgumentError(
                f"{type(self).__name__}.{name}: assigned before Module.__init__ ran",
                why="parameters and submodules cannot be registered before that",
                fix="call super().__init__() first",
            )
        if is_parameter(value):
            self._refuse_turned(name, value)
            self._file("_parameters", name, value)
        elif isinstance(value, Module):
            self._refuse_cycle(name, value)
            self._file("_modules", name, value)
        elif name in self._parameters:
            if value is not None:
                raise tt.ArgumentError(
                    f"{type(self).__name__}.{name}: a {type(value).__name__} cannot replace a parameter",
                    why="optimizers hold the parameter, and would continue with the old one",
                    fix=f"write into it: with tt.no_grad(): module.{name}.copy_(value); or assign "
                    "nn.Parameter(value)",
                )
            self._parameters[name] = None
        elif name in self._buffers and (value is None or isinstance(value, tt.Tensor)):
            self._buffers[name] = value
        else:
            self._forget(name, keep="")
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in _KINDS:
            if kind in own and name in own[kind]:
                return own[kind][name]
        if name in MODULE:
            raise named_otherwise(f"m.{name}", MODULE[name])
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        if not self._forget(name, keep=""):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def _file(self, kind: str, name: str, value: Any) -> None:
        """Register an attribute in one of the dictionaries, at its previous position if it exists."""
        self._forget(name, keep=kind)
        getattr(self, kind)[name] = value

    def _forget(self, name: str, keep: str) -> bool:
        """Remove an attribute from all dictionaries but `keep`."""
        kinds = [k for k in ("_parameters", "_buffers", "_modules") if k != keep and name in getattr(self, k)]
        for kind in kinds:
            del getattr(self, kind)[name]
        self._transient.discard(name)
        own = name in self.__dict__
        if own:
            object.__delattr__(self, name)
        return bool(kinds) or own

    def _refuse_turned(self, name: str, value: tt.Tensor) -> None:
        """A matrix of (in, out) in place of one of (out, in): the weight of a Linear as that of an Embedding.

        Other shapes are allowed, since programs cut or extend tables that way.
        """
        old = self._parameters.get(name)
        if old is not None and old.ndim == 2 and old.shape != value.shape == old.shape[::-1]:
            raise tt.ShapeError(
                f"{type(self).__name__}.{name}: the parameter was {old.shape}, the new one is {value.shape}",
                why="it is the transpose: Linear stores (in, out), Embedding (rows, columns)",
                fix="to tie a head to an embedding, compute F.linear(x, embedding.weight) without a Linear",
            )

    def _refuse_cycle(self, name: str, module: Module) -> None:
        if any([below is self for _, below in module._places()]):
            raise tt.ArgumentError(
                f"{type(self).__name__}.{name}: the module would contain itself",
                why="modules form a tree, which is traversed from its root to the leaves",
                fix="to refer to the parent module, store it in a tuple: self.above = (parent,)",
            )

    def register_parameter(self, name: str, parameter: tt.Tensor | None) -> None:
        """Register a parameter under a name; None reserves the name for an absent one (such as no bias).

        Raises:
            ArgumentError: the tensor is not an nn.Parameter.
        """
        if parameter is not None and not is_parameter(parameter):
            raise tt.ArgumentError(
                f"register_parameter: {name} is a {type(parameter).__name__}",
                why="parameters are leaf tensors that are marked by nn.Parameter",
                fix="wrap it: nn.Parameter(tensor)",
            )
        self._file("_parameters", name, parameter)

    def register_buffer(self, name: str, tensor: tt.Tensor | None, persistent: bool = True) -> None:
        """Register a non-parameter state tensor; persistent=False excludes it from state_dict()."""
        self._file("_buffers", name, tensor)
        if not persistent:
            self._transient.add(name)

    @property
    def hooked(self) -> bool:
        """Whether calls run hooks."""
        return bool(self._pre_hooks or self._hooks)

    def register_forward_hook(self, hook: Hook) -> Removable:
        """Call `hook(module, args, result)` after forward; a return value not None replaces `result`.

        Returns:
            A handle with `remove()`, also usable as a context manager.
        """
        return Removable(self._hooks, hook)

    def register_forward_pre_hook(self, hook: Hook) -> Removable:
        """Call `hook(module, args)` before forward; a return value other than None replaces the arguments."""
        return Removable(self._pre_hooks, hook)

    # ---- the tree ---------------------------------------------------------------------------------------

    def _places(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Every path in the tree: a shared module occurs under each of its names."""
        yield prefix, self
        for name, child in self._modules.items():
            yield from child._places(f"{prefix}.{name}" if prefix else name)

    def _tensors(self, kind: str, prefix: str = "") -> Iterator[tuple[str, tt.Tensor]]:
        """Dotted names and tensors of one kind in all modules; a shared tensor occurs under each name."""
        for path, module in self._places(prefix):
            for name, tensor in getattr(module, kind).items():
                if tensor is not None:
                    yield f"{path}.{name}" if path else name, tensor

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module ("") and all below it, each once, with dotted names."""
        return _once(self._places(prefix))

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Names and immediate submodules."""
        return iter(self._modules.items())

    def children(self) -> Iterator[Module]:
        """Immediate submodules."""
        return iter(self._modules.values())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, tt.Tensor]]:
        """Dotted names and parameters; a shared one (a tied head) occurs once, under its first name."""
        return _once(self._tensors("_parameters", prefix))

    def parameters(self) -> Iterator[tt.Tensor]:
        """All parameters, each once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, tt.Tensor]]:
        """Dotted names and buffers, each once."""
        return _once(self._tensors("_buffers", prefix))

    def buffers(self) -> Iterator[tt.Tensor]:
        """All buffers, each once."""
        return (b for _, b in self.named_buffers())

    def num_parameters(self) -> int:
        """Number of trainable and frozen parameter elements; shared ones count once."""
        return sum([p.size for p in self.parameters()])

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call a function on every module of the tree, children first; returns self."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch the whole tree to training (or, with False, to evaluation); returns self."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> Self:
        """Switch the whole tree to evaluation: no dropout; returns self."""
        return self.train(False)

    def requires_grad_(self, on: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters; returns self."""
        for p in self.parameters():
            p.requires_grad_(on)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to zero in place."""
        with tt.no_grad():
            for p in self.parameters():
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.copy_(0)

    def to(
        self, target: Any = None, dtype: Any = None, *, device: Any = None, non_blocking: bool = False
    ) -> Self:
        """Move the tree to a device, or cast its floating tensors to a dtype; shared tensors stay shared.

        A tensor that changes is replaced, and its gradient dropped; so create the optimizer afterwards.

        Args:
            target: a device ("cpu", "cuda", "emulated") or a floating dtype.
            dtype, device: the same by name; m.to("cuda", tt.float16) gives both.
            non_blocking: PyTorch's; changes nothing here.
        """
        for one in (target, device, dtype):
            if one is not None:
                self._to(one)
        return self

    def cpu(self) -> Self:
        """`to("cpu")`."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda") -> Self:
        """`to("cuda")`, or to another GPU."""
        return self.to(device=device)

    def half(self) -> Self:
        """`to(tt.float16)`."""
        return self.to(tt.float16)

    def bfloat16(self) -> Self:
        """`to(tt.bfloat16)`."""
        return self.to(tt.bfloat16)

    def float(self) -> Self:
        """`to(tt.float32)`."""
        return self.to(tt.float32)

    def double(self) -> Self:
        """`to(tt.float64)`."""
        return self.to(tt.float64)

    def _to(self, target: Any) -> None:
        dtype = getattr(tt, target, None) if isinstance(target, str) else target
        casts = isinstance(dtype, tt.DType)
        if isinstance(dtype, tt.DType) and not dtype.is_floating:
            raise tt.DTypeError(
                f"Module.to: dtype {dtype}",
                why="parameters have gradients, so they are floating",
                fix="for example module.to(tt.bfloat16)",
            )
        moved: dict[int, tuple[tt.Tensor, tt.Tensor]] = {}  # by id; the old tensor keeps its id in use
        with tt.no_grad():
            for module in self.modules():
                for tensors in (module._parameters, module._buffers):
                    for name, old in tensors.items():
                        if old is not None and (old.dtype.is_floating or not casts):
                            if id(old) not in moved:
                                moved[id(old)] = old, _moved(old, target)
                            tensors[name] = moved[id(old)][1]

    # ---- state ------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, tt.Tensor]:
        state = dict(self._tensors("_parameters"))
        for path, module in self._places():
            for name, b in module._buffers.items():
                if b is not None and name not in module._transient:
                    state[f"{path}.{name}" if path else name] = b
        return state

    def state_dict(self) -> dict[str, tt.Tensor]:
        """All parameters and persistent buffers by dotted name, detached, sharing the module's memory.

        A shared parameter appears under each of its names.

        Returns:
            name → tensor; clone the tensors to preserve values that training will change.
        """
        return {name: tensor.detach() for name, tensor in self._state().items()}

    def load_state_dict(
        self, state: Mapping[str, tt.Tensor], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy values into the parameters and buffers, in place. On an error, nothing is written.

        Args:
            state: tensors (or arrays) by dotted name; cast to the dtype of the module. For a shared
                parameter, one name is enough.

        Returns:
            (missing, unexpected) names; both empty if strict.

        Raises:
            ArgumentError: names are missing or unexpected (strict), or two names of a shared parameter have
                different values.
        """
        own = self._state()
        given = {name: tt.asarray(state[name]).detach() for name in own if name in state}
        present = {id(own[name]) for name in given}
        missing = [name for name, tensor in own.items() if id(tensor) not in present]
        unexpected = [name for name in state if name not in own]
        if strict and (missing or unexpected):
            raise tt.ArgumentError(
                f"load_state_dict: {len(missing)} names are missing and {len(unexpected)} unexpected",
                why=f"missing: {_some(missing)}; unexpected: {_some(unexpected)}",
                fix="load the state of the same architecture, or pass strict=False to load what fits",
            )
        _check_shapes(own, given)
        _check_shared(own, given)
        with tt.no_grad():
            for name, value in given.items():
                own[name].copy_(value)
        return missing, unexpected

    def extra_repr(self) -> str:
        """Options to show in the module's repr; defined by subclasses."""
        return ""

    def __repr__(self) -> str:
        return "\n".join(_describe(self, type(self).__name__))


def _once(named: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Skip objects that occurred before under another name."""
    seen: set[int] = set()
    for name, item in named:
        if id(item) not in seen:
            seen.add(id(item))
            yield name, item


def _moved(tensor: tt.Tensor, target: Any) -> tt.Tensor:
    """The tensor on another device or in another dtype; itself if nothing changes."""
    new = tensor.to(target)
    if new is tensor or not is_parameter(tensor):
        return new
    parameter: tt.Tensor = Parameter(new, tensor.requires_grad)
    return parameter


def _check_shapes(own: Mapping[str, tt.Tensor], given: Mapping[str, tt.Tensor]) -> None:
    wrong = {name: value.shape for name, value in given.items() if value.shape != own[name].shape}
    if wrong:
        turned = all([len(shape) == 2 and shape[::-1] == own[name].shape for name, shape in wrong.items()])
        raise tt.ShapeError(
            f"load_state_dict: {len(wrong)} tensors have another shape than the module's",
            why=_some([f"{name} is {shape}, not {own[name].shape}" for name, shape in wrong.items()]),
            fix="transpose them, as for weights of torch.nn.Linear: state[name].T"
            if turned
            else "build the module with the sizes of the state",
        )


def _check_shared(own: Mapping[str, tt.Tensor], given: Mapping[str, tt.Tensor]) -> None:
    first: dict[int, str] = {}
    for name, value in given.items():
        known = first.setdefault(id(own[name]), name)
        if known != name and not bool((value == given[known]).all()):
            raise tt.ArgumentError(
                f"load_state_dict: {known} and {name} have different values",
                why="they are one parameter of the module, under two names",
                fix="leave one of them out, or build the module with parameters that are not shared",
            )


def _some(names: list[str], at_most: int = 5) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def _describe(module: Module, title: str) -> list[str]:
    """Lines of the repr: name, shapes of its own parameters, parameter count."""
    own = [f"{name} {tuple(p.shape)}" for name, p in module._parameters.items() if p is not None]
    parts = [part for part in (module.extra_repr(), ", ".join(own)) if part]
    count = module.num_parameters()
    total = f"  # {count:,} parameter{'s' if count > 1 else ''}" if count else ""
    lines = [f"{title}({'; '.join(parts)}){total}"]
    for name, child in module._modules.items():
        lines += ["  " + text for text in _describe(child, f"{name}: {type(child).__name__}")]
    return lines


# ---- modules of one function -------------------------------------------------------------------------------


class _Function(Module):
    """Base class of modules that call one function; its options are the arguments of the class."""

    function: ClassVar[Callable[..., tt.Tensor]]
    __signature__: ClassVar[inspect.Signature]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()
        name = type(self).__name__
        try:
            given = self.__signature__.bind(*args, **translate_keywords(type(self), name, len(args), options))
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        given.apply_defaults()
        for option, value in given.arguments.items():
            if isinstance(value, tt.Tensor):
                self.register_buffer(option, value)
            else:
                setattr(self, option, value)

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__signature__.parameters}

    def forward(self, *inputs: Any, **named: Any) -> tt.Tensor:
        """Call the function with the inputs and the options."""
        return type(self).function(*inputs, **named, **self._options())

    def extra_repr(self) -> str:
        """The options that differ from their defaults; tensors by their shape."""
        defaults = self.__signature__.parameters
        shown = {k: v for k, v in self._options().items() if v is not defaults[k].default}
        return ", ".join(
            [f"{k} {v.shape}" if isinstance(v, tt.Tensor) else f"{k}={v!r}" for k, v in shown.items()]
        )


def as_module(name: str, function: Callable[..., Any], inputs: int = 1, **defaults: Any) -> type[_Function]:
    """The class of modules that call a function, whose options are the arguments of the class.

    Args:
        function: takes tensors, then options. A tensor among the options becomes a buffer.
        inputs: number of the tensors.
        defaults: in place of those of the function.

    >>> Power = tt.nn.as_module("Power", tt.pow, b=2.0)
    >>> Power(3.0), Power(b=3.0)(tt.tensor([1.0, 2.0])).tolist()
    (Power(b=3.0), [1.0, 8.0])
    """
    parameters = list(inspect.signature(function).parameters.values())[inputs:]
    options = [
        p.replace(default=defaults.get(p.name, p.default)) for p in parameters if p.name != "generator"
    ]
    sentence = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0]
    members = {
        "__doc__": f"{sentence}\n\nThe module of the function `{function.__name__}`, with its options.",
        "__module__": sys._getframe(1).f_globals["__name__"],  # where the class will be found, for pickle
        "__signature__": inspect.Signature(options),
        "function": staticmethod(function),
    }
    return type(name, (_Function,), members)


# ---- checks of arguments -----------------------------------------------------------------------------------


def check_size(layer: str, name: str, value: int, least: int = 1) -> int:
    """Return the value if it is an integer of at least `least`, otherwise raise ArgumentError."""
    try:
        size = operator.index(value)
    except TypeError:
        size = least - 1
    if size < least:
        raise tt.ArgumentError(
            f"{layer}: {name} is {value!r}",
            why=f"it is an integer, at least {least}",
            fix=f"{layer}(..., {name}={max(least, 1)})",
        )
    return size


def check_share(layer: str, name: str, value: object) -> float:
    """Return the value if 0 <= value <= 1, otherwise raise ArgumentError."""
    if not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
        raise tt.ArgumentError(
            f"{layer}: {name} is {value!r}", why="a probability lies in [0, 1]", fix=f"{layer}({name}=0.1)"
        )
    return float(value)
