"""Small objects by the shortest way: one request, one answer, one buffer, on a connection that stays open.

obstore hands every object through two event loops, which takes longer than a quarter of a megabyte does. A line
understands one answer, 200 with the whole object. At anything else it breaks, and the object goes the careful way,
which has the retries, the ranges and the sentences.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import ssl
import struct
import time
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aerodet.storage.mirror._source import CHUNK, Bucket, Item, TransientError

__all__ = ["Line", "Route"]

_HEAD = 16 << 10  # bytes that the head of an answer may have
_SILENCE = 60  # seconds
_NO_BODY = hashlib.sha256(b"").hexdigest()
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.~/-]+")  # stands in a request as it is


class Credentials(Protocol):
    """botocore's."""

    def get_frozen_credentials(self) -> Any:
        """Return access key, secret key and token, renewed where they have run out."""


class Route:
    """Where a bucket's objects are, and in whose name they are asked for.

    Args:
        url: of the mirrored prefix.
        region: of the bucket.
        credentials: to sign with; None for none.
    """

    def __init__(self, url: str, region: str, credentials: Credentials | None) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host, self.port = parts.hostname or "", parts.port or (443 if self.secure else 80)
        self._netloc, self._path = parts.netloc, parts.path.rstrip("/")
        self._region, self._credentials = region, credentials

    @classmethod
    def to(cls, bucket: Bucket) -> Route | None:
        """Return the route to a bucket; None where it leads through a proxy or names would have to be encoded."""
        route = cls(bucket.url, bucket.region, bucket.credentials)
        proxied = "https" if route.secure else "http"
        if proxied in getproxies() and not proxy_bypass(route.host):
            return None
        return route if _PLAIN_KEY.fullmatch(route._path) else None

    def leads_to(self, item: Item) -> bool:
        """Say whether an object is small and its name plain."""
        return item.size <= CHUNK and _PLAIN_KEY.fullmatch(item.key) is not None

    def request(self, key: str) -> bytes:
        """Return the request for an object, signed as AWS describes it (Signature Version 4)."""
        path = f"{self._path}/{key}"
        lines = [f"GET {path} HTTP/1.1", f"host: {self._netloc}"]
        if self._credentials is not None:
            lines += [f"{name}: {value}" for name, value in self._signature(path).items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def _signature(self, path: str) -> dict[str, str]:
        assert self._credentials is not None
        access_key, secret_key, token = self._credentials.get_frozen_credentials()[:3]
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        lines = {"host": self._netloc, "x-amz-content-sha256": _NO_BODY, "x-amz-date": now}
        if token:
            lines["x-amz-security-token"] = token
        names, listed = ";".join(lines), "".join(f"{name}:{value}\n" for name, value in lines.items())
        asked = hashlib.sha256(f"GET\n{path}\n\n{listed}\n{names}\n{_NO_BODY}".encode()).hexdigest()
        scope = f"{now[:8]}/{self._region}/s3/aws4_request"
        key = _signing_key(secret_key, scope)
        signed = hmac.digest(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{asked}".encode(), "sha256").hex()
        del lines["host"]
        given = f"Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signed}"
        return {**lines, "authorization": f"AWS4-HMAC-SHA256 {given}"}


class Line:
    """A connection for one thread, opened when it is needed.

    Args:
        route: where to.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._socket: socket.socket | None = None
        self._memory = bytearray(CHUNK + _HEAD)
        self._buffer = memoryview(self._memory)

    def fetch(self, item: Item) -> memoryview:
        """Return an object's bytes, good until the next call.

        Raises:
            TransientError: they did not come, or are not those that were listed.
        """
        try:
            body, stays = self._exchange(item)
        except (OSError, ValueError) as error:
            self.close()
            raise TransientError("the connection broke") from error
        except TransientError:
            self.close()
            raise
        if not stays:
            self.close()
        return body

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def cut(self) -> None:
        """End what another thread waits for."""
        line = self._socket
        if line is not None:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended
                return

    def _exchange(self, item: Item) -> tuple[memoryview, bool]:
        """Return the body of the answer, and whether the connection stays open."""
        request = self._route.request(item.key)
        filled = self._ask(request) if self._socket is not None else 0
        if not filled:  # the first request, or the server closed what was idle
            self.close()
            self._socket = _connect(self._route)
            filled = self._ask(request)
        while (end := self._memory.find(b"\r\n\r\n", 0, min(filled, _HEAD))) < 0:
            filled += self._receive(filled, _HEAD)
        head = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        said = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if head[0].split(" ")[1:2] != ["200"] or said.get("content-length") != str(item.size):
            raise TransientError("the server did not send the object")
        if item.etag and said.get("etag", "").strip('"') != item.etag:
            raise TransientError("the object was changed")
        start, whole = end + 4, end + 4 + item.size
        while filled < whole:
            filled += self._receive(filled, whole)
        return self._buffer[start:whole], said.get("connection", "").lower() != "close" and filled == whole

    def _ask(self, request: bytes) -> int:
        """Send a request and return how much of the answer came first; none when the connection has ended."""
        assert self._socket is not None
        try:
            self._socket.sendall(request)
            return self._socket.recv_into(self._buffer)
        except ConnectionError:
            return 0

    def _receive(self, start: int, end: int) -> int:
        assert self._socket is not None
        count = self._socket.recv_into(self._buffer[start:end])
        if not count:
            raise TransientError("the server sent less than the object")
        return count


def _connect(route: Route) -> socket.socket:
    line = socket.create_connection((route.host, route.port), timeout=_SILENCE)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if route.secure:
        return _tls().wrap_socket(line, server_hostname=route.host)
    # The kernel's own time limit spares a call of poll before each read.
    line.settimeout(None)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        line.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _SILENCE, 0))
    return line


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@lru_cache(maxsize=2)
def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
