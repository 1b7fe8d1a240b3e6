"""Every kernel compiles for every GPU from Turing to Blackwell, without spills, stack and warnings.

No GPU is needed. By default a file compiles for three of them: each kernel for all three, and for one of the
three each functor and a third of the instances. TINYTENSOR_FULL=1 compiles everything for all.
`make kernels-full` also writes a table.
"""

from __future__ import annotations

import re
from functools import cache
from zlib import crc32

import pytest

from tests import FULL
from tests.helpers.kernel_matrix import compiled, instances, main_instances, recorded, signatures, stems
from tests.helpers.kernel_table import everything, summary, table
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_files import KERNELS, kernel_path
from tinytensor.runtime.signature import STRUCT, parse

THOROUGH = 90  # the architecture that dtypes and 64-bit positions are sampled on
EVERY = 48  # one of so many
THIRD = 3  # of the instances in the dtypes of MAIN, one of so many
SAMPLED = (75, 80, 90)  # each first with something: no cp.async, cp.async, TMA

pytestmark = pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed (extra [dev])")

# Bytes of stack that are allowed, by kernel or functor, and why.
REDUCTION = "a large angle is multiplied with digits of 2/pi, which are found by its exponent"
STACK = {"Sin": (40, REDUCTION), "Cos": (40, REDUCTION), "Tan": (40, REDUCTION)}


def chosen(stem, architecture):
    """What a run compiles."""
    if FULL:
        return list(instances(stem, architecture))
    main = main_instances(stem, architecture)
    picked = [i for i in main if (i.name, architecture) in shared_out(stem)]
    if architecture == THOROUGH:
        rest = set(instances(stem, architecture)) - set(main)
        picked += [i for i in rest if crc32(i.name.encode()) % EVERY == 0]
    return picked


@cache
def shared_out(stem):
    """In the dtypes of MAIN: an architecture for each functor and every third instance, and an instance for
    each kernel on each architecture.
    """
    places = {}  # of kernel and instance
    functors = {}  # the first instance of each kernel for each functor
    for architecture in SAMPLED:
        for i in sorted(main_instances(stem, architecture), key=lambda i: i.name):
            places.setdefault((i.kernel, i.name), []).append(architecture)
            functors.setdefault((i.kernel, i.functor), i.name)
    pairs = set()
    for at, ((kernel, name), those) in enumerate(sorted(places.items())):
        if at % THIRD == 0 or name in functors.values():
            pairs.add((kernel, those[at % len(those)], name))
    met = {(kernel, architecture) for kernel, architecture, _ in pairs}
    for (kernel, name), those in sorted(places.items()):
        for architecture in those:
            if (kernel, architecture) not in met:
                met.add((kernel, architecture))
                pairs.add((kernel, architecture, name))
    return {(name, architecture) for _, architecture, name in pairs}


@pytest.mark.parametrize(
    ("stem", "architecture"), [(s, a) for s in stems() for a in (nvrtc.ARCHITECTURES if FULL else SAMPLED)]
)
def test_kernels_compile(stem, architecture):
    problems = []
    for i, program in compiled(chosen(stem, architecture), architecture):
        used = program.resources[i.name]
        allowed, _ = STACK.get(i.functor or i.kernel, (0, ""))
        if used.stack > allowed or used.spill_stores or used.spill_loads:
            problems.append(f"{i.name}: {used.stack} bytes of stack, {used.spill_stores} bytes spilled")
        problems += [f"{i.name}: {line}" for line in re.findall(r".*: warning.*", program.log)]
        problems += struct_problems(i, program)
    assert not problems, f"{stem}.cu for sm_{architecture}:\n" + "\n".join(dict.fromkeys(problems))


def struct_problems(i, program):
    """Whether Python packs parameters as the compiler lays them out."""
    packer = i.packer
    sizes = program.parameters[i.name]
    packer.check_sizes(sizes)
    structs = tuple(size for size, kind in zip(sizes, packer.kinds, strict=True) if kind == STRUCT)
    wrong = i.launched.structs - {structs} if i.is_recorded else ()
    return [f"{i.name}: structs of {found} bytes are passed, it takes {structs}" for found in wrong]


def test_every_kernel_is_launched():
    launched = {(stem, name) for stem, name, _ in recorded(THOROUGH)}
    everywhere = {name for _, name in launched}
    problems = []
    for stem in stems():
        own = parse(kernel_path(stem, ".cu").read_text(encoding="utf-8"))
        for name in signatures(stem):
            reached = (stem, name) in launched if name in own else name in everywhere
            if not reached:
                problems.append(f"{stem}.cu: no row of the op table launches {name}")
    fix = "add a row to tinytensor/op_table, or a call to `more` in tests/helpers/kernel_matrix.py"
    assert not problems, "\n".join(dict.fromkeys(problems)) + f"\n{fix}"


def test_large_blocks_are_announced_to_the_compiler():
    """Without bounds, a thread may get more registers than so many can have: the launch is refused."""
    problems = [
        f"{stem}.cu: {name} is launched with {max(launched.blocks)} threads: give it __launch_bounds__"
        for (stem, name, _), launched in recorded(THOROUGH).items()
        if max(launched.blocks) > 256 and signatures(stem)[name].bounds is None
    ]
    assert not problems, "\n".join(dict.fromkeys(problems))


def test_dynamic_shared_memory_is_aligned():
    """NVRTC aligns it to 16 by itself, other compilers need not do so; vectors and copies are of 16 bytes."""
    texts = {path: path.read_text(encoding="utf-8") for path in KERNELS.rglob("*.cu*")}
    lines = {(path.name, line) for path, text in texts.items() for line in text.splitlines()}
    dynamic = {(name, line.strip()) for name, line in lines if re.search(r"extern\s+__shared__", line)}
    assert dynamic
    assert not [found for found in dynamic if not re.search(r"__align__\((16|128|1024)\)", found[1])]


def test_the_table_has_a_row_for_each_kernel():
    found = everything(["masking"], [80, 90])
    text = table(found, [80, 90])
    (row,) = [line for line in text.splitlines() if "triangle_forward" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:4] == ["masking.cu", "triangle_forward", str(len(found)), "256"]
    assert re.fullmatch(r"\d+, \d+%", cells[4])
    assert cells[-1] == "0"
    (row,) = [line for line in summary(found).splitlines() if line.startswith("| indexing")]
    one, instances, registers, stack = [cell.strip() for cell in row.strip("|").split("|")][1:5]
    assert (one, int(instances), stack) == ("1", len(found), "0")
    assert registers == cells[-2]
