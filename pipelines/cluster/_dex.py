"""Logging in where Kubeflow stands behind Dex, with a name and a password."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from aerodet.errors import MachineError, UserError

__all__ = ["dex_cookies"]

_TIMEOUT = (10, 30)


def dex_cookies(host: str, user: str, password: str, ca: Path | None = None) -> str:
    """Log in and return the session's cookies as a ``Cookie`` header.

    Both gateways in use are known: oidc-authservice, which redirects to Dex at once, and oauth2-proxy, which shows a
    page of its own with status 403 first.

    Args:
        host: Kubeflow's address.
        user: name or e-mail address.
        password: sent to Dex alone.
        ca: certificates to trust.

    Returns:
        ``name=value; name=value``; empty where no login is asked for.

    Raises:
        UserError: name and password are not taken, or the page is not Dex's.
        MachineError: the server does not answer.
    """
    with requests.Session() as session:
        session.verify = str(ca) if ca else True
        try:
            page = session.get(host, timeout=_TIMEOUT)
            if page.status_code == requests.codes.forbidden:
                start = urljoin(page.url, "/oauth2/start")
                page = session.get(start, params={"rd": urlsplit(page.url).path or "/"}, timeout=_TIMEOUT)
            if re.search(r"/auth$", urlsplit(page.url).path):  # Dex asks which of its connectors to use
                page = session.get(re.sub(r"/auth(\?|$)", r"/auth/local\1", page.url), timeout=_TIMEOUT)
            if not page.history and page.ok and not _is_login(page.url):
                return ""
            if not _is_login(page.url):
                raise UserError(
                    f"{host} leads to {_bare(page.url)} ({page.status_code}), which is no login page of Dex"
                )
            page = session.post(page.url, data={"login": user, "password": password}, timeout=_TIMEOUT)
            if re.search(r"/approval$", urlsplit(page.url).path):
                page = session.post(page.url, data={"approval": "approve"}, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise MachineError(f"the login page of {host} does not answer ({type(error).__name__})") from error
        if _is_login(page.url) or page.status_code in (401, 403):
            raise UserError(f"Dex at {_bare(page.url)} does not take this name and password; check both")
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)


def _is_login(url: str) -> bool:
    return re.search(r"/auth/[^/]+(/login)?$", urlsplit(url).path) is not None


def _bare(url: str) -> str:
    """Return an address without its query, which holds the state of the login."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
