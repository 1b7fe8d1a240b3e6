"""Step 1: the machine. Who else uses the GPU, what it is, which versions drive it."""

from __future__ import annotations

import shutil

from benchmarks.contest import machine as contest
from benchmarks.first_day.day import Day, last_lines

QUERY = (
    *("name", "driver_version", "memory.total", "memory.used", "utilization.gpu", "temperature.gpu"),
    *("clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.limit", "ecc.mode.current"),
    *("persistence_mode", "mig.mode.current", "pcie.link.gen.current", "pcie.link.width.current"),
)


def run(day: Day) -> None:
    """Describe the machine; warn if the GPU is shared."""
    for name, value in contest.describe().items():
        text = ", ".join(f"{k} {v}" for k, v in value.items() if v) if isinstance(value, dict) else value
        day.row("machine", what=name, value=str(text))
    tool = shutil.which("nvidia-smi")
    if tool is None:
        day.say("nvidia-smi is missing: the driver's view of the GPU is not known")
    else:
        for name in QUERY:  # one by one: older drivers do not know all
            asked = day.run([tool, f"--query-gpu={name}", "--format=csv,noheader"], 20)
            value = last_lines(asked.output, 8) if asked.code == 0 else "unknown"
            day.row("nvidia-smi", what=name, value=value)
            if name == "mig.mode.current" and "Enabled" in asked.output:
                day.say("warning: MIG is enabled: peaks are those of a part of the GPU")
        others = day.run([tool, "--query-compute-apps=pid,used_memory", "--format=csv,noheader"], 20)
        if others.output.strip():
            day.say(f"warning: other processes use the GPU: {last_lines(others.output, 8)}")
    info = day.run(day.python("tinytensor", "info"), 30)
    for line in info.output.splitlines():
        name, _, value = line.partition(" ")
        if name in ("cache", "compiler"):  # folders of this machine
            continue
        day.row("tinytensor info", what=name, value=value.strip())
