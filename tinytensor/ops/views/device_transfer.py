"""Copies from one device to another, with history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinytensor.autograd.backward import Grads, Needs, Saved
from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import Device, cpu
from tinytensor.dispatch.apply import edge_of, record
from tinytensor.dispatch.transfer import copy_between_gpus, download, upload
from tinytensor.op import Op, register

if TYPE_CHECKING:
    from tinytensor.tensor import Tensor


@register
class Transfer(Op):
    """The same elements on another device; run by `transfer`."""

    inputs = ("x",)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, source: Device) -> Grads:
        """dx = grad, on the device of x."""
        return (transfer(grads[0], source),)

    @staticmethod
    def fn(x: Tensor, device: Device) -> Tensor:
        """For layers below this one."""
        return transfer(x, device)


def transfer(x: Tensor, device: Device) -> Tensor:
    """x on a device: itself if it is there, else a C-contiguous copy, differentiable."""
    source = x.storage.device
    if source is device:
        return x
    if source.type == device.type == "cuda":
        t = copy_between_gpus(x, device)
    else:
        t = download(x) if source is not cpu else x
        if device is not cpu:
            t = upload(t, device)
    if grad_enabled() and (edge := edge_of(x)) is not None:
        record(Transfer, (x,), (edge,), (t,), {"source": source})
    return t
