"""Live view of training: `python -m gpt watch RUN …`, or `--watch` of the commands that train.

Serves one page on this machine that follows the logs of runs: losses, learning rate, norm of the gradients,
speed, samples, health by layer, settings. Several runs, or a folder of runs, are drawn together.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gpt.console import Parser
from gpt.fields import check_types
from gpt.live.follow import Follower
from gpt.live.page import watch_page
from gpt.live.server import PageServer
from tinytensor.errors import ArgumentError
from tinytensor.files import PathLike
from tinytensor.lab.html import write

LAST_LOOK = 1.5  # seconds


@dataclass(frozen=True)
class WatchConfig:
    """Live view of a training; independent of its results."""

    watch: bool = False  # serve a page on this machine that follows the training; its address is printed
    watch_port: int = 0  # port of the page; 0: a free one

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.watch_port < 65536:
            raise ArgumentError(
                f"--watch_port={self.watch_port}: no such port",
                why="ports are 1 to 65535",
                fix="leave it out for a free one",
            )
        if self.watch_port and not self.watch:
            raise ArgumentError(
                f"--watch_port={self.watch_port} without --watch",
                why="it is the port of the page that --watch serves",
                fix="add --watch",
            )


@contextmanager
def watching(config: WatchConfig, *paths: PathLike) -> Iterator[None]:
    """Context in which a page follows runs, which may not exist yet, and whose address is printed; without
    `watch` nothing happens.
    """
    if not config.watch:
        yield
        return
    follower = Follower(paths)
    with PageServer(watch_page(), follower.answer, config.watch_port) as server:
        print(f"watch  {server.url}", flush=True)
        try:
            yield
        finally:
            follower.ended = True
            server.wait_for_question(LAST_LOOK)  # so that an open page has the last lines, too


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt watch RUN …`: until Ctrl-C, or with `--html` a file."""
    parser = Parser(
        prog="python -m gpt watch",
        description="Follow runs on a page: losses, rates, samples, health by layer. The page is served on "
        "this machine alone, and makes no requests to others.",
    )
    about = "run directory, or a folder of them; default runs"
    parser.add_argument("runs", nargs="*", metavar="RUN", default=["runs"], help=about)
    parser.add_argument("--port", type=int, default=0, help="port of the page; default a free one")
    parser.add_argument("--html", metavar="FILE", help="write a page of the runs as they are now instead")
    args = parser.parse_args(argv)
    follower = Follower(args.runs)
    if not follower.folders():
        raise ArgumentError(
            f"watch: {', '.join(args.runs)}: there is no run",
            why="a run directory has a config.json and a log.jsonl",
            fix="check the path, or train one: python -m gpt demo --watch",
        )
    if args.html:
        write(args.html, watch_page(_whole(follower)))
        print(f"wrote {args.html}")
        return 0
    config = WatchConfig(watch=True, watch_port=args.port)
    with watching(config, *args.runs), contextlib.suppress(KeyboardInterrupt):
        print("Ctrl-C ends it", flush=True)
        threading.Event().wait()
    return 0


def _whole(follower: Follower) -> dict[str, object]:
    """The complete logs of all runs, as one answer."""
    runs = follower.answer({})["runs"]
    for run in runs:
        while run["more"]:
            parts = follower.answer({other["name"]: other["position"] for other in runs})["runs"]
            part = next(part for part in parts if part["name"] == run["name"])
            run["lines"] += part["lines"]
            run["position"], run["more"] = part["position"], part["more"]
    return {"runs": runs}
