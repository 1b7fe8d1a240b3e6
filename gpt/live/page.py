"""The page of the live view: places that its script fills, and the script."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tinytensor.lab.html import Html, tag
from tinytensor.lab.report import Report

SCRIPTS = ("charts.js", "log.js", "live.js")


@cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def watch_page(answer: Mapping[str, object] | None = None) -> str:
    """Page of the live view: of a result of `Follower.answer`, or one that asks its server."""
    body = (
        tag("p", id="live-state", aria_live="polite"),
        tag("div", id="live-runs", class_="scroll"),
        _choices(),
        tag("div", id="live-charts"),
        tag("div", id="live-health"),
        tag("div", id="live-samples"),
        tag("div", id="live-settings"),
        tag("noscript", "The page needs JavaScript, which it contains."),
    )
    data = {} if answer is None else {"live-data": answer}
    report = Report("Training", body, _file("live.css"), data, "".join(map(_file, SCRIPTS)))
    return report.html(requests=answer is None)


def _choices() -> Html:
    def switch(name: str, about: str) -> Html:
        return tag("label", tag("input", type="checkbox", id=f"live-{name}"), f" {about}")

    axis = tag(
        "select",
        tag("option", "steps", value="step"),
        tag("option", "tokens", value="tokens"),
        id="live-axis",
    )
    return tag(
        "div",
        tag("label", "over ", axis),
        switch("log", "logarithmic loss"),
        switch("raw", "without smoothing"),
        tag(
            "span",
            "Point at a chart, or go to it with Tab and use the arrow keys, for its numbers.",
            class_="soft",
        ),
        class_="bar",
    )
