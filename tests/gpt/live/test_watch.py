"""The page that follows runs: in a browser, beside a training that does not notice it, and as a file."""

import contextlib
import json
import re
import socket
import threading
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

import pytest

from gpt.__main__ import main
from gpt.console import parse_fields
from gpt.live import watch as module
from gpt.live.page import watch_page
from gpt.live.server import PageServer
from gpt.live.watch import WatchConfig, watching
from gpt.training.run_log import RunLog
from tests.helpers.browser import CHROMIUM, Browser
from tests.helpers.runs import assert_same

TINY = ["train", "--preset=tiny", "--n_embd=8", "--eval_interval=4"]
TINY += ["--health_interval=5", "--sample_interval=6"]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat and the dog\n" * 99)
    return f"--data={path}"


# ---- the training ------------------------------------------------------------------------------------------


class Crowd:
    """Clients that ask, are silent or leave in the middle, from the moment that an address is printed."""

    def __init__(self, monkeypatch):
        self.answers, self.threads, self.over = [], [], threading.Event()
        enter = PageServer.__enter__

        def entered(server):
            self.url = server.url
            self.threads = [threading.Thread(target=work) for work in (self.ask, self.disturb)]
            for thread in self.threads:
                thread.start()
            return enter(server)

        monkeypatch.setattr(PageServer, "__enter__", entered)

    def ask(self):
        while not self.over.is_set():
            with contextlib.suppress(OSError, HTTPException):  # hung up on, for one of the others
                self.answers.append(json.load(urllib.request.urlopen(self.url + "data")))

    def disturb(self):
        address = urlsplit(self.url)
        kept = []
        for words in (b"", b"GET /", b"\0" * 9999, f"GET {address.path}data HTTP/1.0\r\n".encode()) * 9:
            try:
                kept.append(socket.create_connection((address.hostname, address.port)))
                kept[-1].sendall(words)
            except OSError:
                break
        for client in kept:
            client.close()

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_a_watched_training_has_the_bits_of_an_unwatched_one(tmp_path, data, monkeypatch, capfd):
    monkeypatch.setattr(module, "LAST_LOOK", 60.0)
    assert main([*TINY, data, f"--out_dir={tmp_path / 'alone'}"]) == 0
    capfd.readouterr()  # a line about kernels that are compiled
    crowd = Crowd(monkeypatch)
    assert main([*TINY, data, f"--out_dir={tmp_path / 'watched'}", "--watch"]) == 0
    crowd.end()
    said = capfd.readouterr()
    assert re.search(r"^watch  http://127\.0\.0\.1:\d+/[\w-]{22}/$", said.out, re.MULTILINE)
    assert said.err == ""
    assert_same(tmp_path / "watched", tmp_path / "alone")
    logs = []
    for name in ("alone", "watched"):
        lines = RunLog(tmp_path / name).read()
        logs.append([{k: v for k, v in x.items() if k not in ("tokens_per_second", "mfu")} for x in lines])
    assert logs[0] == logs[1]
    assert [line["step"] for line in logs[0] if "sample" in line] == [6, 12, 18]
    assert [line["step"] for line in logs[0] if "health" in line] == [5, 10, 15, 20]
    assert crowd.answers[-1]["ended"]
    assert not crowd.answers[0]["ended"]
    assert crowd.answers[-1]["runs"][0]["lines"] == RunLog(tmp_path / "watched").read()
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("alone", "watched")]
    assert configs[0]["train"].pop("out_dir") != configs[1]["train"].pop("out_dir")
    assert configs[0] == configs[1]


@pytest.mark.parametrize("command", ["ablate", "finetune lora", "masked", "demo"])
def test_other_commands_are_watched_too(command, tmp_path, data, monkeypatch, told):
    monkeypatch.setattr(module, "LAST_LOOK", 0.0)
    folder = tmp_path / "run"
    words = [*command.split(), data, f"--out_dir={folder}", "--max_steps=2", "--warmup_steps=0", "--watch"]
    sizes = ["--n_layer=1", "--n_head=1", "--n_embd=8", "--block_size=16", "--batch_size=2"]
    if command == "finetune lora":
        assert main([*TINY, data, f"--out_dir={tmp_path / 'base'}", "--max_steps=1"]) == 0
        sizes = ["--batch_size=2", f"--init_from={tmp_path / 'base'}"]
    elif command == "ablate":
        sizes += ["--preset=tiny", "--grid=position=rope,none"]
    seen, leave = [], PageServer.__exit__

    def left(server, *error):
        seen.append(urllib.request.urlopen(server.url + "data").read())
        leave(server, *error)

    monkeypatch.setattr(PageServer, "__exit__", left)
    assert "\nwatch  http://127.0.0.1" in "\n" + told(*words, *sizes)
    names = [run["name"] for run in json.loads(seen[0])["runs"]]
    assert len(names) == (2 if command == "ablate" else 1)
    assert all(name.startswith(str(folder)) for name in names)


def test_words_of_the_view():
    assert parse_fields(["--watch=false"], WatchConfig()) == (WatchConfig(),)
    assert parse_fields(["--watch", "--watch-port", "81"], WatchConfig()) == (WatchConfig(True, 81),)


def test_a_taken_port_ends_before_the_training(tmp_path, data, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = [*TINY, data, f"--out_dir={tmp_path / 'run'}", "--watch", f"--watch_port={port}"]
        assert main(words) == 2
    assert f"port {port} of 127.0.0.1 cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "run" / "log.jsonl").exists()


# ---- the page ----------------------------------------------------------------------------------------------

EVIL = "</script><script>document.title = 'evil'</script><img src=x onerror=\"document.title = 'evil'\"> ü"


def numbers(step):
    return {"step": step, "loss": 4 / step**0.5, "lr": 1e-3, "grad_norm": 0.5, "tokens_per_second": 512.0}


def health(step):
    parts = [
        {"part": part, "grad_norm": 0.1 * i, "update_ratio": 1e-3} for i, part in enumerate(("wte", "h.0"))
    ]
    parts[1] |= {"attention_entropy": 1.5, "dead_units": 0.25}
    return {"step": step, "health": parts}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    config = {
        "model": {"block_size": 32, "n_layer": 1},
        "train": {"max_steps": 100, "batch_size": 4, "gradient_accumulation_steps": 1, "data": EVIL},
    }
    (folder / "config.json").write_text(json.dumps(config))
    log = RunLog(folder)
    for step in range(10, 51, 10):
        log.write(**numbers(step))
    log.write(step=50, val_loss=0.75)
    log.write(step=50, sample=EVIL)
    log.write(**health(50))
    return log


def text(browser, element):
    return browser.run(f"document.querySelector('{element}').textContent")


def shown(browser):
    pairs = browser.run(
        "[...document.querySelectorAll('.tiles div')].map(d => [...d.children].map(c => c.textContent))"
    )
    return dict(pairs)


CHARTS = "[...document.querySelectorAll('.chart strong')].map(s => s.textContent)"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to look with")
def test_a_browser_follows_a_run(run, tmp_path, capsys):
    with Browser(tmp_path / "profile") as browser:
        with watching(WatchConfig(watch=True), run.path.parent):
            url = capsys.readouterr().out.split()[1]
            browser.open(url, 390)
            browser.wait("document.querySelector('.tiles') !== null")
            seen = shown(browser)
            assert seen["step"] == "50 / 100"
            assert seen["validation"] == "0.750"
            assert seen["best"] == "0.750 @ 50"
            assert seen["time left"] == "13 s"  # 50 steps of 4 × 32 tokens at 512 a second
            charts = ["loss (nats per token)", "learning rate", "norm of the gradient", "tokens per second"]
            assert browser.run(CHARTS) == charts
            assert text(browser, ".sample pre") == EVIL
            assert "evil" not in browser.run("document.title")
            assert browser.run("document.querySelectorAll('.layers figure').length") == 4
            assert browser.run("document.documentElement.scrollWidth") <= 390
            run.write(**numbers(60), reward=0.25)
            browser.wait("document.querySelector('.tiles dd').textContent === '60 / 100'")
            assert "reward" in browser.run(CHARTS)
            browser.run("document.querySelector('.chart svg').focus()")
            browser.press("ArrowRight")
            browser.press("ArrowRight")
            assert "batch 0.8944" in text(browser, ".chart figcaption")  # 4 / √20, at step 20
            run.write(step=60, stopped="python -m gpt train")
            go_on = "stopped; go on with python -m gpt train"
            browser.wait(f"document.getElementById('live-state').textContent.startsWith('{go_on}')")
            assert "time left" not in shown(browser)
            run.write(**numbers(100))
        browser.wait("document.getElementById('live-state').textContent.startsWith('The training has ended')")
        assert shown(browser)["step"] == "100 / 100"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to look with")
def test_a_browser_compares_runs_in_a_file(run, tmp_path, monkeypatch, told):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(
        '{"model": {"block_size": 32, "n_layer": 2}, "train": {"max_steps": 100}}'
    )
    for step in range(1, 301):
        RunLog(other).write(step=step, loss=5.0)
    monkeypatch.setattr("gpt.live.follow.MOST_BYTES", 1000)  # in many pieces
    page = tmp_path / "page.html"
    assert told("watch", tmp_path, "--html", page) == f"wrote {page}\n"
    with Browser(tmp_path / "profile") as browser:
        browser.open(page)
        rows = browser.run("[...document.querySelectorAll('#live-runs tr')].map(r => r.textContent)")
        assert len(rows) == 3
        assert rows[1].startswith(" other300 / 1005.000")
        assert rows[2].startswith(" run50 / 100")
        assert text(browser, "#live-settings summary") == "Settings that differ"
        assert "n_layer" in text(browser, "#live-settings")
        browser.run("document.querySelectorAll('#live-runs button')[1].click()")
        assert text(browser, "#live-samples h2") == "Samples: run"
        browser.run("document.querySelectorAll('#live-runs input')[0].click()")
        assert "other" not in text(browser, ".chart figcaption")


def test_the_file_makes_no_requests():
    assert "connect-src" not in watch_page({"runs": []})
    assert EVIL not in watch_page({"runs": [EVIL]})
