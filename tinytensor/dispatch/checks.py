"""Checks shared by ops: common device, common dtype and floating dtype of the inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import Device, cpu
from tinytensor.dispatch.record import requires
from tinytensor.dtypes import DType
from tinytensor.errors import DeviceError, DTypeError, GradError
from tinytensor.op import Spec, Tensor, registry


def common_device(what: str, items: Sequence[Any]) -> Device:
    """The common device of all tensors among the items; DeviceError if they are on different devices."""
    device: Device | None = None
    for x in items:
        if isinstance(x, Tensor):
            here = x.storage.device
            if device is not None and here is not device:
                raise _mixed_devices(what, items)
            device = here
    return cpu if device is None else device


def _mixed_devices(what: str, items: Sequence[Any]) -> DeviceError:
    places = [f"{x.layout.shape} on {x.storage.device}" for x in items if isinstance(x, Tensor)]
    return DeviceError(
        f"{what}: the tensors are on different devices: {', '.join(places)}",
        why="tensors are never copied between devices implicitly",
        fix="move them to one device: x.to(y.device)",
    )


def same_dtype(what: str, *specs: Spec | None) -> DType:
    """The common dtype of the inputs; DTypeError if they differ."""
    present = [s for s in specs if s is not None]
    first = present[0].dtype
    for s in present[1:]:
        if s.dtype is not first:
            raise _several_dtypes(what, specs)
    return first


def floating(what: str, spec: Spec) -> None:
    """Raise DTypeError unless the input has a real floating-point dtype."""
    if not spec.dtype.is_floating:
        raise DTypeError(
            f"{what}: the input of shape {spec.shape} has dtype {spec.dtype}",
            why="the result has fractions, so a floating dtype is needed",
            fix="cast with .astype(tt.float32)",
        )


def without_kernel(what: str, device: Device) -> DeviceError:
    """The error of an op that is called on a device other than the CPU."""
    return DeviceError(
        f"{what}: the op has no CUDA kernel, so it cannot run on {device}",
        why="this op is implemented for the CPU only, and there is no implicit fallback to other devices",
        fix='copy the inputs: x.to("cpu")',
    )


def wide(what: str, spec: Spec) -> None:
    """Raise DTypeError unless the input is real or complex, with 32 or 64 bits for each part."""
    if not spec.dtype.is_inexact or spec.dtype.narrow:
        raise DTypeError(
            f"{what}: the input of shape {spec.shape} has dtype {spec.dtype}",
            why="it is computed in float32, float64, complex64 and complex128 alone",
            fix="cast with .astype(tt.float32)",
        )


def complex_history(what: str, how: str = "the result is complex") -> GradError:
    """The error of an op that would record complex numbers."""
    return GradError(
        f"{what}: {how}, and an operand requires grad",
        why="gradients of complex tensors are not supported",
        fix="call x.detach() first, or compute under tt.no_grad()",
    )


def refuse_complex_history(what: str, x: Tensor) -> None:
    """GradError if an op on x, which computes with complex numbers, would be recorded."""
    if grad_enabled() and requires(x):
        raise complex_history(what, "it computes with complex numbers")


def _several_dtypes(what: str, specs: Sequence[Spec | None]) -> DTypeError:
    """DTypeError that names the inputs that differ from the majority."""
    names = getattr(registry.get(what), "inputs", ()) or [f"input {i}" for i in range(len(specs))]
    found = {n: s.dtype for n, s in zip(names, specs, strict=False) if s is not None}
    most, _ = Counter(found.values()).most_common(1)[0]
    odd = " and ".join([name for name, dtype in found.items() if dtype is not most])
    return DTypeError(
        f"{what}: inputs have dtypes {', '.join([f'{n} {d}' for n, d in found.items()])}",
        why="this op computes in one dtype and does not cast implicitly",
        fix=f"cast {odd} with .astype(tt.{most})",
    )
