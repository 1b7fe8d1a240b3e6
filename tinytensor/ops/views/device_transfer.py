"""Differentiable copies between devices."""

from __future__ import annotations

from typing import Any

from tinytensor.autograd.levels import Batched
from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch.batching import on_value
from tinytensor.dispatch.record import edge_of, record
from tinytensor.dispatch.transfer import copy_between_gpus, download, upload
from tinytensor.errors import ArgumentError
from tinytensor.op import Grads, Needs, Op, Saved, Tensor, register
from tinytensor.runtime import runtime_of


@register
class Transfer(Op):
    """Copy to another device; executed by `transfer`."""

    source: Device

    inputs = ("x",)
    flops = 0.0

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, on the device of x."""
        return (transfer(grads[0], self.source),)


def transfer(x: Tensor, device: Device) -> Tensor:
    """x on a device: x itself if it is there, else a C-contiguous, differentiable copy."""
    source = x.storage.device
    if source is device:
        return x
    if isinstance(x, Batched):
        return on_value(transfer, x, device)
    if source.type == device.type == "cuda":
        t = copy_between_gpus(x, device)
    else:
        t = download(x) if source is not cpu else x
        if device is not cpu:
            t = upload(t, device)
    if grad_enabled() and (edge := edge_of(x)) is not None:
        record(Transfer(source=source), (x,), (edge,), (t,))
    return t


def to_cpu(x: Tensor) -> Tensor:
    """x on the CPU: x itself if it is there, else a copy."""
    return transfer(x, cpu)


def to_cuda(x: Tensor, index: int = 0) -> Tensor:
    """x on a GPU: x itself if it is there, else a copy."""
    return transfer(x, present(f"cuda:{index}" if index else "cuda", "cuda"))


def to_device(x: Tensor, device: Any, /, *, stream: None = None) -> Tensor:
    """The array API's name for `to`; the copy is synchronous, so `stream` must be None."""
    if stream is not None:
        raise ArgumentError(
            f"to_device: stream is of type {type(stream).__name__}",
            why="a copy runs on the stream of its source or target device",
            fix="leave the stream out",
        )
    return transfer(x, present(device, "to_device"))


def present(device: Any, what: str) -> Device:
    """The device of a name, checked to be available."""
    place = as_device(device, what)
    if place is not cpu:
        runtime_of(place)
    return place
