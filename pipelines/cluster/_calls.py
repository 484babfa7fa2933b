"""Calls of a server over HTTP: bounded retries that do nothing twice, and one sentence for what goes wrong."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3

from aerodet.errors import AerodetError, MachineError, UserError

__all__ = ["TIMEOUT", "Caller", "ConflictError", "MissingError"]

T = TypeVar("T")
TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
_LATER = (429, 503)  # the server says that it did nothing
_BROKEN = (500, 502, 504)  # what it did is not known


class MissingError(UserError):
    """The server knows no such object."""


class ConflictError(UserError):
    """The server has such an object already."""


@dataclass(frozen=True)
class Caller:
    """Calls one server.

    Attributes:
        server: how a person calls it, such as ``the pipeline API at http://…``.
        advice: what to do when it refuses the credentials.
        attempts: how often a call is tried.
        pause: waits for so many seconds.
    """

    server: str
    advice: str
    attempts: int = 5
    pause: Callable[[float], None] = time.sleep

    def read(self, what: str, call: Callable[[], T]) -> T:
        """Make a call that changes nothing, or that may be made twice; try it again after a fault that may pass.

        Args:
            what: what the call does, for the error sentence, such as ``read run 12``.
            call: makes it.

        Raises:
            UserError: the server refuses it; :class:`MissingError` and :class:`ConflictError` for 404 and 409.
            MachineError: the server does not answer, or fails.
        """
        return self._try(what, call, None)

    def create(self, what: str, call: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Make a call that must not be made twice.

        After a fault that does not tell whether the server did it, ``find`` looks for the result before the call is
        made again.

        Args:
            what: what the call does.
            call: makes it.
            find: returns what an earlier attempt made, or None.

        Raises:
            UserError: see :meth:`read`.
            MachineError: see :meth:`read`.
        """
        return self._try(what, call, find)

    def _try(self, what: str, call: Callable[[], T], find: Callable[[], T | None] | None) -> T:
        for attempt in range(1, self.attempts + 1):
            try:
                return call()
            except Exception as error:
                fault = self._fault(what, error)
                if fault is None:  # a defect of ours: let it be seen
                    raise
                known, wait = fault
                look = find if _is_uncertain(error) else None
                last = attempt == self.attempts
                if wait is None or (last and look is None):
                    raise known from error
                self.pause(wait or min(30.0, 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25))
                if look is not None and (found := look()) is not None:
                    return found
                if last:
                    raise known from error
        raise AssertionError("there is at least one attempt")

    def _fault(self, what: str, error: Exception) -> tuple[AerodetError, float | None] | None:
        """Return what to say of an exception, and the seconds to wait before the next attempt: 0 as usual, None never.

        Any generated client's ``ApiException`` will do: KFP's and Kubernetes' have the same members.
        """
        if isinstance(error, urllib3.exceptions.HTTPError):
            reason = getattr(error, "reason", None) or error
            unreachable = MachineError(f"{self.server} does not answer ({type(reason).__name__}), asked to {what}")
            return unreachable, 0.0
        if isinstance(error, AttributeError) and isinstance(error.__context__, Exception):
            error = error.__context__  # KFP's client stumbles over an answer without a body, such as a broken handshake
        if type(error).__name__ != "ApiException":
            return None
        status, said = getattr(error, "status", 0) or 0, _said(error)
        if status in (*_LATER, *_BROKEN):
            failing = MachineError(f"{self.server} failed to {what} ({status}{said}); try again later")
            return failing, _retry_after(error) if status in _LATER else 0.0
        refused = UserError(f"{self.server} refuses to {what} ({status}{said})")
        known: dict[int, UserError] = {
            0: UserError(f"{self.server} shows a certificate that is not trusted{said}; give its CA"),
            302: UserError(f"{self.server} sends to a login page; {self.advice}"),
            401: UserError(f"{self.server} does not take the credentials (401{said}); {self.advice}"),
            403: UserError(f"{self.server} does not allow to {what} (403{said}); ask for the role that may"),
            404: MissingError(f"{self.server} cannot {what}: there is none (404{said})"),
            409: ConflictError(f"{self.server} cannot {what}: there is one already (409{said})"),
        }
        return known.get(status, refused), None


def _is_uncertain(error: Exception) -> bool:
    """Say whether the server may have done what it was asked to."""
    if isinstance(error, urllib3.exceptions.HTTPError):
        inner = getattr(error, "reason", None) or error
        return not isinstance(inner, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)
    return getattr(error, "status", 0) in _BROKEN


def _retry_after(error: Any) -> float:
    """Return the seconds that the server asks for, within reason."""
    value = (error.headers or {}).get("Retry-After", "")
    return min(60.0, float(value)) if str(value).isdigit() else 0.0


def _said(error: Any) -> str:
    """Return the server's own words, on one line and not too many of them."""
    text = str(error.reason or "")
    try:
        content = json.loads(error.body or "")
        text = content.get("message") or content.get("error") or text
    except (TypeError, ValueError, AttributeError):
        pass
    words = " ".join(text.split())
    return f": {words[:300]}" if words else ""
