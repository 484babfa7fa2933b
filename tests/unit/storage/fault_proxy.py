"""A proxy before a real S3 server that breaks what it is told to break."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

Plan = Callable[[str, int], str]  # (path of an object, how often it was asked for before) -> name of a fault, or ""

_ERRORS = {
    "slow-down": ("503 Slow Down", "SlowDown", "Reduce your request rate."),
    "skew": ("403 Forbidden", "RequestTimeTooSkewed", "The difference between the request time and now is too large."),
}


class FaultProxy:
    """Passes requests on; answers with the body of an object are spoiled as ``plan`` says.

    ``drop`` breaks the connection in the middle of the body, ``short`` sends half of it as if that were all,
    ``corrupt`` changes a byte, ``slow-down`` and ``skew`` answer with S3's errors.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self.plan: Plan = lambda path, before: ""
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self._tasks: set[asyncio.Task[None] | None] = set()
        self.body_bytes = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = starting.result(10)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for _ in range(50):  # a connection may have been accepted and its task not yet begun
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.002)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)  # asyncio itself holds tasks weakly, and lets go of one whose client has left
        try:
            while await self._one(reader, writer):
                pass
            await writer.drain()
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to end."""
        head = await reader.readuntil(b"\r\n\r\n")
        headers = _headers(head)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        fault = ""
        if method == "GET" and "list-type" not in target:
            path = target.partition("?")[0]
            fault = self.plan(path, self.asked[path])
            self.asked[path] += 1
            if "range" in headers:
                self.ranges.append(headers["range"])
        if fault in _ERRORS:
            status, code, message = _ERRORS[fault]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
            return True
        answer_head, answer = await self._ask(head, body)
        if fault:
            return await self._spoil(fault, answer_head, answer, writer)
        if method == "GET":
            self.body_bytes += len(answer)
        writer.write(answer_head + answer)
        await writer.drain()
        return False

    async def _ask(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n" + body)
            await writer.drain()
            answer = await reader.read(-1)
        finally:
            writer.transport.abort()
        answer_head, _, rest = answer.partition(b"\r\n\r\n")
        return answer_head + b"\r\n\r\n", rest

    async def _spoil(self, fault: str, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> bool:
        half = len(body) // 2
        if fault == "corrupt":
            body = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
        elif fault == "short":
            head = head.replace(f"Content-Length: {len(body)}".encode(), f"Content-Length: {half}".encode())
            body = body[:half]
        else:
            body = body[:half]
        self.body_bytes += len(body)
        writer.write(head + body)
        await writer.drain()
        if fault == "drop":
            await asyncio.sleep(0.01)
            writer.transport.abort()
        return False


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
