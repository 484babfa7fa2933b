"""The short way of small objects: what it asks for, what it takes for an answer, and that it gives up politely."""

from __future__ import annotations

import hashlib
import socket
import threading
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aerodet.storage.mirror import _direct
from aerodet.storage.mirror._direct import Line, Route
from aerodet.storage.mirror._source import CHUNK, Access, Bucket, Item, TransientError

BODY = b"the bytes of a tile"
ITEM = Item("train/a_1.png", len(BODY), hashlib.md5(BODY).hexdigest())
GOOD = f'HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\nETag: "{ITEM.etag}"\r\n\r\n'.encode() + BODY


class Server:
    """Answers requests with what it is given, one list of answers a connection."""

    def __init__(self, *connections):
        self.asked, self._connections = [], connections
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/bucket/prefix"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        for answers in self._connections:
            connection, _ = self._socket.accept()
            with connection:
                for answer in answers:
                    self.asked.append(connection.recv(1 << 16))
                    connection.sendall(answer)

    def close(self):
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def line_to():
    servers, lines = [], []

    def make(*connections):
        servers.append(Server(*connections))
        lines.append(Line(Route(servers[-1].url, "eu-west-1", None)))
        return lines[-1], servers[-1]

    yield make
    for line in lines:
        line.close()
    for server in servers:
        server.close()


@pytest.mark.parametrize("token", [None, "a/session+token="])
def test_a_request_is_signed_as_botocore_signs_it(token, monkeypatch):
    credentials = Credentials("AKID", "the/secret", token)
    now = datetime.now(UTC)
    monkeypatch.setattr(_direct.time, "gmtime", now.timetuple)
    route = Route("https://s3.eu-west-1.amazonaws.com/bucket/prefix", "eu-west-1", credentials)
    head, *lines = route.request("train/a_1.png").decode().split("\r\n")
    sent = dict(line.split(": ", 1) for line in lines if line)
    assert head == "GET /bucket/prefix/train/a_1.png HTTP/1.1"

    class At(S3SigV4Auth):
        def add_auth(self, request):
            request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
            self._modify_request_before_signing(request)
            canonical = self.canonical_request(request)
            return self.signature(self.string_to_sign(request, canonical), request)

    request = AWSRequest("GET", "https://s3.eu-west-1.amazonaws.com/bucket/prefix/train/a_1.png")
    request.context["payload_signing_enabled"] = True
    signature = At(credentials, "s3", "eu-west-1").add_auth(request)
    assert sent["authorization"].endswith(f"Signature={signature}")
    assert sent.get("x-amz-security-token") == token


def test_a_connection_stays_open_from_object_to_object(line_to):
    line, server = line_to([GOOD, GOOD])
    assert bytes(line.fetch(ITEM)) == BODY
    assert bytes(line.fetch(ITEM)) == BODY
    assert [asked.split(b" ")[1] for asked in server.asked] == [b"/bucket/prefix/train/a_1.png"] * 2
    assert all(b"authorization" not in asked for asked in server.asked)


@pytest.mark.parametrize("last", [GOOD, GOOD.replace(b"ETag", b"Connection: close\r\nETag")])
def test_a_connection_that_the_server_has_closed_is_opened_again(line_to, last):
    line, server = line_to([last], [GOOD])
    assert [bytes(line.fetch(ITEM)) for _ in range(2)] == [BODY, BODY]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (GOOD[:-1], "less than the object"),
        (GOOD[:30], "less than the object"),
        (b"", "less than the object"),
        (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", "did not send the object"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "did not send the object"),
        (GOOD.replace(b"Length: 19", b"Length: 18"), "did not send the object"),
        (GOOD.replace(ITEM.etag.encode(), b"0" * 32), "was changed"),
        (b"no HTTP\r\n\r\n", "did not send|broke"),
        (b"\r\n\r\n", "did not send|broke"),
        (b"a" * (40 << 10), "did not send|broke|less"),
    ],
)
def test_at_any_other_answer_the_line_breaks_and_the_next_object_gets_a_new_one(line_to, answer, reason):
    line, server = line_to([answer], [GOOD])
    with pytest.raises(TransientError, match=reason):
        line.fetch(ITEM)
    assert bytes(line.fetch(ITEM)) == BODY
    assert len(server.asked) == 2


def test_a_server_that_is_not_there_breaks_the_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TransientError, match="the connection broke"):
        Line(Route(f"http://127.0.0.1:{port}/bucket", "eu-west-1", None)).fetch(ITEM)


def test_large_objects_and_names_to_be_encoded_go_another_way():
    route = Route("http://127.0.0.1:1/bucket", "eu-west-1", None)
    assert route.leads_to(ITEM)
    assert not route.leads_to(Item("a.png", CHUNK + 1, ""))
    assert not any(route.leads_to(Item(key, 1, "")) for key in ("a b.png", "a%20b.png", "ä.png", "a?b", "a\r\nb"))


def test_a_way_through_a_proxy_is_no_direct_one(monkeypatch):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "http://10.0.0.1:3128")
    bucket = Bucket("s3://bucket/a", Access("http://10.0.0.2:9000", anonymous=True))
    assert Route.to(bucket) is None
    monkeypatch.setenv("no_proxy", "10.0.0.2")
    assert Route.to(bucket) is not None
