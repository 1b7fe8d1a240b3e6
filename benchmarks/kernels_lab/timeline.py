"""Timeline model of a GPU with concurrent copy-in, compute and copy-out engines."""

from dataclasses import dataclass, field

ENGINES = ("in", "kernel", "out")


@dataclass
class Timeline:
    """Modeled schedule of streams, with serial engines that process work in call order.

    Attributes:
        steps: (one of ENGINES, start, end), in seconds.
        streams: number of streams, including the thread's default stream.
        used: streams that have steps.
    """

    steps: list[tuple[str, float, float]] = field(default_factory=list)
    streams: int = 1
    used: set[int] = field(default_factory=set)
    _engines: dict[str, float] = field(default_factory=dict)  # time at which each is free
    _done: dict[int, float] = field(default_factory=dict)  # time at which a stream's work is done
    _inside: list[int] = field(default_factory=lambda: [0])
    _host: float = 0.0

    def add(self, engine: str, seconds: float, *, host_waits: bool = False) -> None:
        """Add a step to the current stream."""
        stream = self.current
        start = max(self._host, self._engines.get(engine, 0.0), self._done.get(stream, 0.0))
        end = start + seconds
        self.steps.append((engine, start, end))
        self.used.add(stream)
        self._engines[engine] = self._done[stream] = end
        if host_waits:
            self._host = end

    @property
    def current(self) -> int:
        """Current stream of the thread."""
        return self._inside[-1]

    def order(self, later: int, earlier: int) -> None:
        """Make one stream wait for another."""
        self._done[later] = max(self._done.get(later, 0.0), self._done.get(earlier, 0.0))

    def enter(self, stream: int) -> None:
        """Make a stream current."""
        self.order(stream, self.current)
        self._inside.append(stream)

    def leave(self) -> None:
        """Restore the previous stream."""
        self._inside.pop()

    def wait(self, stream: int) -> None:
        """Make the host wait for a stream."""
        self._host = max(self._host, self._done.get(stream, 0.0))

    @property
    def seconds(self) -> float:
        """Total time."""
        return max([end for _, _, end in self.steps], default=0.0)

    def drawing(self, scale: float, width: int = 64) -> list[str]:
        """Gantt chart: a line per engine, from 0 to `scale` seconds, with step numbers counted from 0."""
        lines = []
        for engine in ENGINES:
            cells = [" "] * width
            steps = [(start, end) for name, start, end in self.steps if name == engine]
            for number, (start, end) in enumerate(steps):
                first, last = round(start / scale * width), round(end / scale * width)
                cells[first:last] = str(number % 10) * (last - first)
            lines.append(f"  {engine:8}{''.join(cells)}".rstrip())
        return lines
