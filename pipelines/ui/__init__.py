"""The web page: runs, artifacts, lineage and published models, as they lie in folders and buckets. It only shows.

::

    serve(["runs"], port=8642)

One process, nothing to build, nothing loaded from elsewhere: Starlette and uvicorn, which MLflow brings anyway, and a
page of plain HTML, CSS and ES modules in ``static/``.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aerodet.errors import MachineError, UserError

if TYPE_CHECKING:
    from aerodet.pipelines.cluster import Access
    from aerodet.pipelines.ui._cluster import Cluster

__all__ = ["address_of", "serve"]

PARALLEL = 64  # requests at a time; more are turned away


def serve(
    places: Sequence[str],
    *,
    registries: Sequence[str] = (),
    access: Access | None = None,
    experiment: str = "aerodet",
    host: str = "127.0.0.1",
    port: int = 8642,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the page until a signal ends it.

    Args:
        places: folders and buckets with runs or artifacts.
        registries: folders of registries, besides those in ``places``.
        access: the way to a pipeline server whose runs and schedules are shown too.
        experiment: on that server.
        host: address to listen on; any but a loopback address makes a token that visitors need.
        port: 0 takes a free one.
        ready: called with the page's address, the token in it, once it answers.

    Raises:
        UserError: a place does not exist.
        MachineError: the port is taken, the address is none of this machine's, or the server does not answer.
    """
    import uvicorn

    from aerodet.pipelines.ui._app import make_app
    from aerodet.pipelines.ui._guard import is_loopback
    from aerodet.pipelines.ui._library import Library
    from aerodet.pipelines.ui._registry import Registries

    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    folders = [Path(place) for place in (*places, *registries) if "://" not in place]
    library, registry, cluster = Library(places), Registries(folders), _server(access, experiment)
    listener = _listen(host, port)
    with listener, tempfile.TemporaryDirectory(prefix="aerodet-ui-", ignore_cleanup_errors=True) as scratch:
        config = uvicorn.Config(
            make_app(library, registry, Path(scratch), cluster=cluster, token=token),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="off",
            limit_concurrency=PARALLEL,
            timeout_graceful_shutdown=2,
        )
        ready(address_of(host, listener.getsockname()[1], token))
        uvicorn.Server(config).run(sockets=[listener])


def address_of(host: str, port: int, token: str | None) -> str:
    """Return the page's address; for all interfaces at once, with this machine's name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def _server(access: Access | None, experiment: str) -> Cluster | None:
    if access is None:
        return None
    from aerodet.pipelines.cluster import connect
    from aerodet.pipelines.ui._cluster import Cluster

    return Cluster(connect(access), experiment)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"--host {host} is no address ({error})") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise MachineError(f"{host}:{port} cannot be listened on ({error.strerror}); take another --port") from error
    return listener
