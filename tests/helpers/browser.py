"""A real browser without a window, for tests of pages: points at things, and says how they then look.

It is spoken to through a pipe, so no test needs a port. `CHROMIUM` is None where there is none.
"""

import base64
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

KEYS = {"Tab": 9, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")


class Browser:
    """One page; close it with `with`."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        # It hears on descriptor 3 and answers on 4.
        pipes = [(os.POSIX_SPAWN_DUP2, theirs_in, 3), (os.POSIX_SPAWN_DUP2, theirs_out, 4)]
        words = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(
            CHROMIUM, words, os.environ, file_actions=[*quiet, *pipes], setpgroup=0
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._rest, self._asked, self._session = b"", 0, ""
        targets = self._ask("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")
        self._ask("Emulation.setFocusEmulationEnabled", enabled=True)  # as if the window were in front

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)

    def _ask(self, method: str, **params: Any) -> Any:
        """Give a command, and wait for its answer."""
        self._asked += 1
        command = {"id": self._asked, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while (said := self._hear()).get("id") != self._asked:
            pass
        assert "result" in said, said
        return said["result"]

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = json.loads(line)
        return said

    def open(self, page: Path | str, width: int = 1200, height: int = 900) -> None:
        """Load a file or an address, and wait until it is there."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._ask("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while self._hear().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; the policy of the page does not hold for it."""
        said = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def point(self, element: str) -> None:
        """Move the mouse onto an element, an expression of JavaScript."""
        box = f"{element}.getBoundingClientRect()"
        x, y = self.run(
            f"{element}.scrollIntoView({{block:'center'}}),[{box}.x+{box}.width/2,{box}.y+{box}.height/2]"
        )
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def wait(self, condition: str) -> None:
        """Wait until an expression of JavaScript holds."""
        while not self.run(condition):
            pass

    def press_tab(self) -> None:
        """Go to the next thing that the keyboard reaches."""
        self.press("Tab")

    def press(self, name: str) -> None:
        """Press and release a key, by its name in JavaScript, which may follow "Shift+"."""
        shifted, _, name = name.rpartition("+")
        key = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS[name], "modifiers": 8 * bool(shifted)}
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, **key)

    def picture(self, path: Path) -> None:
        """What is seen, as a PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))
