"""Headless Chromium, spoken to over its DevTools pipe: no driver, no port, no library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

STANDS = "document.querySelector('h1, body > pre') && !document.querySelector('.loading')"


class Chromium:
    """One browser with one tab.

    Attributes:
        requests: the address of everything that the tab asked for.
        errors: what its console and its security policy complained of.
    """

    def __init__(self, profile: Path) -> None:
        (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
        command = [
            str(BINARY), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb",
            "--hide-scrollbars", f"--user-data-dir={profile}", "--remote-debugging-pipe",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank",
        ]  # fmt: skip
        shell = ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "bash", *command]
        self._process = subprocess.Popen(
            shell,
            pass_fds=(their_in, their_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self._out, self._numbers = os.fdopen(our_out, "wb", buffering=0), itertools.count(1)
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._session: str | None = None
        self._reader = threading.Thread(target=self._read, args=(os.fdopen(our_in, "rb"),), daemon=True)
        self._reader.start()
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the browser."""
        self._out.close()  # the end of the pipe is the end of the browser
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a DevTools method and return its result."""
        number = next(self._numbers)
        self._answers[number] = SimpleQueue()
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        try:
            answer = self._answers[number].get(timeout=60)
        except Empty:
            raise TimeoutError(f"{method} was not answered") from None
        finally:
            del self._answers[number]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self, stream: Any) -> None:
        rest = b""
        while chunk := stream.read1(1 << 16):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers[message["id"]].put(message)
                else:
                    self._note(message["method"], message["params"])
        stream.close()

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(str([a.get("value", a.get("description")) for a in parameters["args"]]))

    def open(self, address: str) -> None:
        """Go to an address and wait for the view to stand."""
        self.call("Page.navigate", url="about:blank")  # another view of the same page would not be loaded anew
        self.call("Page.navigate", url=address)
        self.until(f"document.readyState === 'complete' && {STANDS}")

    def go(self, view: str) -> None:
        """Go to another view of the page that is open."""
        self.run("document.querySelector('h1')?.setAttribute('data-old', '')")
        self.run(f"location.hash = {json.dumps(view)}")
        self.until(f"document.querySelector('h1:not([data-old])') && {STANDS}")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", "?"))
        return result["result"].get("value")

    def until(self, condition: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression is true."""
        self.wait(lambda: self.run(f"Boolean({condition})"), condition, seconds)

    @staticmethod
    def wait(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.03)
        raise TimeoutError(what)

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **typed)

    def look(self, *, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window and the colours that the reader prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """Return a PNG of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        return base64.b64decode(data)
