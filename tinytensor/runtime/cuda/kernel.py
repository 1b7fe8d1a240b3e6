"""A loaded GPU kernel and its launch: arguments packed by signature, CUDA errors as KernelError.

CuPy would choose the type of a Python number itself (double for a float, whatever the kernel declares), so it
gets the addresses of packed arguments, as in CUDA's own API.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any

from tinytensor.errors import KernelError
from tinytensor.runtime.base import Argument, Dim, three_sizes
from tinytensor.runtime.cuda.occupancy import Resources
from tinytensor.runtime.signature import ALIGN, Packer

_FREE_SHARED = 48 << 10  # bytes of shared memory, static and dynamic, allowed by default
# Errors of this launch; all others come from an earlier kernel.
_REFUSALS = {
    1: "CUDA_ERROR_INVALID_VALUE",
    9: "invalid configuration",
    701: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
}
_NOT_TOGETHER = 720  # CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE


class _Arguments:
    """Memory of the arguments of one launch. CUDA copies them before the launch returns."""

    __slots__ = ("address", "offsets", "pointers", "start", "values")

    def __init__(self, nbytes: int, offsets: tuple[int, ...]) -> None:
        self.values = ctypes.create_string_buffer(nbytes + ALIGN)
        self.start = -(-ctypes.addressof(self.values) // ALIGN) * ALIGN
        self.offsets = offsets
        self.pointers = (ctypes.c_void_p * (len(offsets) + 1))(*[self.start + at for at in offsets])
        self.address = ctypes.addressof(self.pointers)


class CupyKernel:
    """One instance of a kernel.

    Attributes:
        name: name of the instance.
        resources: registers, shared memory and stack.

    Args:
        together: it has a barrier of the whole grid, so its launches are cooperative.
    """

    def __init__(
        self, runtime: Any, packer: Packer, function: Any, resources: Resources, together: bool
    ) -> None:
        self.name = packer.name
        self.resources = resources
        self._runtime, self._packer, self._function = runtime, packer, function
        self._driver = driver = runtime.cupy.cuda.driver
        self._launch = driver.launchCooperativeKernel if together else driver.launchKernel
        self._extra = () if together else (0,)  # arguments that only the plain launch has
        self._granted = _FREE_SHARED - resources.shared
        self._free: list[_Arguments] = []  # a pool: a thread takes one and puts it back

    def __call__(self, grid: Dim, block: Dim, args: Sequence[Argument], shared: int = 0) -> None:
        """Launch on the current stream of this thread."""
        if shared > self._granted:
            self._grant(shared)
        data, offsets = self._packer.pack(args)
        try:
            own = self._free.pop()
        except IndexError:
            own = _Arguments(len(data), offsets)
        if own.offsets is not offsets:  # a struct has another size
            own = _Arguments(len(data), offsets)
        ctypes.memmove(own.start, data, len(data))
        runtime, driver = self._runtime, self._driver
        sizes = (*three_sizes(grid), *three_sizes(block), shared)
        try:
            stream, extra = runtime.stream.ptr, self._extra
            runtime.call(self._launch, self._function.ptr, *sizes, stream, own.address, *extra)
        except (driver.CUDADriverError, OverflowError) as error:  # sizes beyond 32 bits overflow in CuPy
            raise self._refused(error, grid, block, shared) from None
        self._free.append(own)
        runtime.statistics.launch_calls += 1
        runtime.recent.append((self.name, grid, block))

    def _grant(self, shared: int) -> None:
        """Raise the kernel's limit of dynamic shared memory above the default."""
        driver = self._driver
        attribute = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        try:
            self._runtime.call(driver.funcSetAttribute, self._function.ptr, attribute, shared)
        except driver.CUDADriverError as error:
            raise KernelError(
                f"{self.name}: {shared:,} bytes of dynamic shared memory are not available",
                why=f"{error}; a block has {self.resources.shared:,} bytes of static shared memory, and "
                f"sm_{self._runtime.architecture} has a limit for the sum",
                fix="use smaller tiles",
            ) from None
        self._granted = shared

    def _refused(self, error: Exception, grid: Dim, block: Dim, shared: int) -> KernelError:
        status = getattr(error, "status", 1)
        if status == _NOT_TOGETHER:
            return self._not_together(error, grid, block, shared)
        if status not in _REFUSALS:
            failed: KernelError = self._runtime.failed(error)
            return failed
        own = self.resources
        return KernelError(
            f"{self.name}: {self._runtime.device} refuses grid {grid}, block {block}, {shared:,} bytes of "
            "shared memory",
            why=f"{error}; the kernel uses {own.registers} registers per thread and {own.shared:,} bytes of "
            "shared memory per block",
            fix="a grid has at most 2^31-1 x 65,535 x 65,535 blocks, a block 1,024 threads and 65,536 "
            'registers; re-run on device="checked"',
        )

    def _not_together(self, error: Exception, grid: Dim, block: Dim, shared: int) -> KernelError:
        runtime, threads = self._runtime, prod(three_sizes(block))
        resident = self._driver.occupancyMaxActiveBlocksPerMultiprocessor
        each = runtime.call(resident, self._function.ptr, threads, shared)
        fits = each * runtime.multiprocessors
        return KernelError(
            f"{self.name}: {runtime.device} refuses grid {grid}, block {block}: its blocks cannot all run at "
            "once",
            why=f"{error}; a barrier of this_grid() waits for all blocks, and {each} of {threads} threads "
            f"fit on each of the {runtime.multiprocessors} multiprocessors",
            fix=f"launch at most {fits} blocks, and let each thread loop over several elements: "
            "for (i = grid.thread_rank(); i < n; i += grid.size())"
            if fits
            else "use fewer threads per block, or less shared memory",
        )
