"""The server of one page, spoken to through raw sockets: by browsers, by mistake, and with bad intent."""

import json
import socket
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

import tinytensor as tt
from gpt.live import server as module
from gpt.live.page import watch_page
from gpt.live.server import PageServer

PAGE = "<!doctype html><p>page</p>"


@pytest.fixture
def server():
    with PageServer(PAGE, lambda fields: {"fields": fields}) as running:
        yield running


def connected(server):
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def said(server, request):
    """Everything that is answered to the bytes of a request."""
    with connected(server) as client:
        client.sendall(request)
        return everything(client)


def everything(client):
    found = b""
    try:
        while part := client.recv(1 << 16):
            found += part
    except ConnectionResetError:  # closed with unread bytes
        pass
    return found


def get(server, path, *headers, host="127.0.0.1:1"):
    lines = [f"GET {path} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers]
    return said(server, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def status(answer):
    words = answer.split(b" ")  # of old or unknown versions of HTTP an answer has no head
    return int(words[1] if words[0].startswith(b"HTTP/") else words[0])


def test_the_page_and_its_data(server):
    with urllib.request.urlopen(server.url) as answer:
        assert answer.read().decode() == PAGE
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    with urllib.request.urlopen(server.url + "data?runs%2Fa=1.2&b=%3Cscript%3E") as answer:
        assert json.load(answer) == {"fields": {"runs/a": "1.2", "b": "<script>"}}
        assert answer.headers["Content-Type"] == "application/json"


HOSTS = {
    "127.0.0.1:1": 200,
    "localhost:9": 200,  # forwarded from another machine
    "evil.example:80": 403,  # a name that was made to lead here
    "127.0.0.1.evil.example:80": 403,
    "127.0.0.1": 403,
    "": 403,
    None: 403,
}
FILES = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "config.json",
    "data/",
    "data/../x",
    "\\..\\x",
    "%64ata",
]


def test_it_is_there_for_this_machine_alone_and_with_the_token(server):
    assert urlsplit(server.url).hostname == "127.0.0.1"
    path = urlsplit(server.url).path
    token = path.strip("/")
    assert len(token) >= 22  # 128 random bits
    for host, expected in HOSTS.items():
        assert status(get(server, path, host=host)) == expected, host
    paths = ["/", "/data", "//", "/%00/", f"/{token[:-1]}/", f"/{token}x/", f"/{token}", path.swapcase()]
    for wrong in [*paths, *[path + name for name in FILES]]:
        answer = get(server, wrong)
        assert status(answer) == 404, wrong
        assert token.encode() not in answer
    assert status(get(server, f"{path}data?{'&'.join(f'a{i}=1' for i in range(99))}")) == 400


@pytest.mark.parametrize(("request_line", "expected"), [
    (b"POST %s HTTP/1.1", 501),
    (b"<script> %s HTTP/1.1", 501),
    (b"GET %s HTTP/9.9", 505),
    (b"GET %s HTTP/x", 400),
    (b"GET %s a b c", 400),
    (b"GET http://[%s HTTP/1.1", 404),
    (b"GET /\xff\xfe%s HTTP/1.1", 404),
    (b"\x16\x03\x01\x02\x00\x01 %s \x00", 400),  # a greeting in TLS
    (b"GET " + b"a" * 70_000 + b"%s HTTP/1.1", 414),
    (b"GET %s HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
    (b"GET %s HTTP/1.1\r\n" + b"X: a\r\n" * 200, 431),
])  # fmt: skip
def test_bad_requests_get_one_line(server, capsys, request_line, expected):
    path = urlsplit(server.url).path.encode()
    answer = said(server, request_line.replace(b"%s", path) + b"\r\nHost: 127.0.0.1:1\r\n\r\n")
    if answer:  # a reset may overtake an answer to bytes that were not read
        head, _, body = answer.rpartition(b"\r\n\r\n")
        assert status(answer) == expected
        assert not head or b"text/plain" in head
        assert body.count(b"\n") == 1
        assert b"script" not in body
    else:
        assert expected in (414, 431)
    assert urllib.request.urlopen(server.url).read().decode() == PAGE
    assert capsys.readouterr() == ("", "")


def test_an_error_of_ours_ends_one_request(capsys):
    def fails(fields):
        raise ValueError("of ours")

    with PageServer(PAGE, fails) as server:
        assert get(server, urlsplit(server.url).path + "data") == b""
        assert status(get(server, urlsplit(server.url).path)) == 200
    assert capsys.readouterr() == ("", "")


def test_a_slow_client_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(module._Handler, "timeout", 0.05)
    with PageServer(PAGE, dict) as server, connected(server) as slow:
        slow.sendall(b"GET / HT")
        assert everything(slow) == b""


def test_a_client_that_does_not_read(monkeypatch):
    monkeypatch.setattr(module._Handler, "timeout", 0.05)
    with PageServer(PAGE, lambda fields: "a" * (1 << 24)) as server, connected(server) as lazy:
        lazy.sendall(f"GET {urlsplit(server.url).path}data HTTP/1.1\r\nHost: localhost:1\r\n\r\n".encode())
        assert urllib.request.urlopen(server.url).read().decode() == PAGE


def test_clients_that_go_away(server, capsys):
    asking = f"GET {urlsplit(server.url).path}data HTTP/1.1\r\nHost: localhost:1\r\n\r\n"
    for words in (b"", b"GET ", asking.encode()):
        with connected(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # by a reset
            client.sendall(words)
    assert urllib.request.urlopen(server.url).read().decode() == PAGE
    assert capsys.readouterr() == ("", "")


def test_a_taken_port_is_an_error(server):
    port = urlsplit(server.url).port
    with pytest.raises(tt.ArgumentError, match=rf"port {port} of 127.0.0.1 cannot be used") as error:
        PageServer(PAGE, dict, port)
    assert "in use" in error.value.why


def test_the_port_is_closed_in_the_end():
    with PageServer(PAGE, dict) as server, connected(server) as client:
        assert threading.active_count() > 1
        idle = client
        url = server.url
    assert idle.fileno() == -1
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)
    assert not [t for t in threading.enumerate() if t.name == "page server"]


def test_the_policy_of_the_page_forbids_all_but_its_own():
    page = watch_page()
    assert "default-src 'none'" in page
    assert "connect-src 'self'" in page
    assert "innerHTML" not in page
    assert page.replace("http://www.w3.org/2000/svg", "").count("://") == 0
