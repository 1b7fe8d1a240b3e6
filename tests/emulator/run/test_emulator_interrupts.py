"""Ctrl-C while kernels run on the devices `emulated` and `checked`: many times, at random moments."""

import os
import signal
import subprocess
import sys

import pytest

FULL = bool(os.environ.get("TINYTENSOR_FULL"))

START = """
import os, random, signal, sys, threading, time
import numpy as np
import tinytensor as tt

device, count = sys.argv[1], int(sys.argv[2])
n = 96 if device == "emulated" else 16
whole = np.random.default_rng(0).integers(-4, 5, (n, n)).astype("float32")
x = tt.tensor(whole).to(device)

def step():
    return ((x @ x) * x).sum().item()

expected = float((whole @ whole * whole).sum())  # of small integers: exact in any order
assert step() == step() == expected
draw = random.Random(1)
asked, ask = os.pipe()

def send():
    while os.read(asked, 1):
        time.sleep(draw.uniform(0, 0.008))
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=send, daemon=True).start()
"""

RAISING = """
def lost(_):  # Python prints and forgets what a handler raises while a finalizer runs
    os.write(ask, b"1")

sys.unraisablehook = lost
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
for taken in range(count):
    try:
        os.write(ask, b"1")
        while True:
            assert step() == expected
    except KeyboardInterrupt:
        pass
assert step() == expected
print("done", taken + 1)
"""

NOTING = """
noted = []

def note(*_):
    noted.append(1)
    os.write(ask, b"1")

signal.signal(signal.SIGINT, note)
os.write(ask, b"1")
while len(noted) < count:
    assert step() == expected
print("done", count)
"""


@pytest.mark.parametrize(
    "handler", [RAISING, NOTING], ids=["KeyboardInterrupt", "a handler that takes a note"]
)
@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_ctrl_c_at_any_moment_leaves_the_device_working(device, handler):
    count = 300 if FULL else 60
    said = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", START + handler, device, str(count)],
        env={**os.environ, "TINYTENSOR_EMULATOR_WORKERS": "4"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (said.returncode, said.stdout) == (0, f"done {count}\n"), (
        signal_name(said.returncode) + said.stderr
    )


def signal_name(code):
    """What ended a process, if a signal did."""
    return f"{signal.Signals(-code).name}\n" if code < 0 else ""
