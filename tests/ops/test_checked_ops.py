"""The kernels of all ops, watched: no race, no address outside of a buffer, no read of uninitialized memory.

The calls are those of watched_calls.py; TINYTENSOR_FULL=1 watches all dtypes and layouts.
"""

import pytest

from tests.helpers.kernel_matrix import signatures, stems
from tests.helpers.watched_calls import CALLS, Call, plans, watch
from tinytensor.runtime.kernel_files import kernel_path
from tinytensor.runtime.signature import parse


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_nothing_is_found(call: Call) -> None:
    findings, watched = watch(call)
    assert not findings, "\n".join(map(str, findings))
    plan = plans()[call.name]
    assert not plan.is_sure or plan.kernels == watched, "the plan says which kernels are watched"


def test_every_kernel_is_watched() -> None:
    """In the calls above, by their plans. A kernel of a header counts once, whatever file includes it."""
    watched = set()
    for call in CALLS:
        plan = plans()[call.name]
        kernels = plan.kernels if plan.is_sure else watch(call)[1]
        watched |= {(stem, name.partition("<")[0]) for stem, name in kernels}
    anywhere = {name for _, name in watched}
    missing = []
    for stem in stems():
        own = parse(kernel_path(stem, ".cu").read_text(encoding="utf-8"))
        for name in signatures(stem):
            if not ((stem, name) in watched if name in own else name in anywhere):
                missing.append(f"{name} of {stem}.cu")
    fix = "add a row to tinytensor/op_table, or a call to `larger` in tests/helpers/watched_calls.py"
    assert not missing, f"no call of tests/helpers/watched_calls.py launches {', '.join(missing)}; {fix}"
