"""Compile what tests use, on all processors: kernels of the CPU, and launches on `emulated` and `checked`.

A test that comes to a kernel first would compile it alone, which takes up to four times as long as together
with other instances of its file, and other tests of that kernel would wait. What is cached is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache

import tinytensor as tt
from tests.helpers.watched_calls import UNIT, Instance, Plan, plans, recorded
from tests.ops.test_on_device import ROWS, calls
from tinytensor.emulator.run.kernels import FAST, WATCHED, Build, library_of, read
from tinytensor.errors import KernelError
from tinytensor.runtime.compiler import logical_processors
from tinytensor.runtime.kernel_files import locate
from tinytensor.runtime.signature import Packer

Unit = tuple[str, tuple[Instance, ...]]  # a file and instances of its kernels


def units(needed: Iterable[Plan]) -> list[Unit]:
    """The instances of each file in units, the largest first."""
    found: defaultdict[str, set[Instance]] = defaultdict(set)
    for plan in needed:
        for stem, instances in plan.instances.items():
            found[stem] |= instances
    made = []
    for stem, instances in sorted(found.items()):
        ordered = sorted(instances, key=str)
        made += [(stem, tuple(ordered[i : i + UNIT])) for i in range(0, len(ordered), UNIT)]
    return sorted(made, key=lambda unit: -len(unit[1]))


def compile_unit(unit: Unit, build: Build) -> None:
    """What does not compile fails in the tests that need it."""
    stem, instances = unit
    with suppress(KernelError):
        file = read(locate(stem), build)
        packers = [Packer(file.signature(name), arguments) for name, arguments in instances]
        for packer in packers:  # the first that is missing is compiled with all others that are
            library_of(file, packer, packers)


@cache
def say() -> None:
    print("compiling kernels for the tests, kept for later runs: minutes", flush=True)


def main() -> None:
    with tt.on_compile(lambda done, total: say()), ThreadPoolExecutor(logical_processors()) as pool:
        tt.compile_kernels()
        watched = list(plans().values())
        jobs = [pool.submit(compile_unit, unit, WATCHED) for unit in units(watched)]
        rows = [recorded(call) for row in ROWS for call in calls(row.name)]
        jobs += [pool.submit(compile_unit, unit, FAST) for unit in units([*watched, *rows])]
        for job in jobs:
            job.result()


if __name__ == "__main__":
    main()
