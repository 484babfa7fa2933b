"""The page's addresses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import aerodet
from aerodet.errors import AerodetError, UserError
from aerodet.pipelines.ui import _artifacts, _runs
from aerodet.pipelines.ui._guard import Guard
from aerodet.pipelines.ui._library import Library, path_inside, read_file
from aerodet.pipelines.ui._pictures import Pictures
from aerodet.pipelines.ui._previews import TEXT_LIMIT, sections
from aerodet.pipelines.ui._registry import Registries

if TYPE_CHECKING:
    from aerodet.pipelines.ui._cluster import Cluster

__all__ = ["make_app"]

# A report brings its own style and pictures, and may do nothing else.
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
REPORT_LIMIT, DOWNLOAD_LIMIT = 128 << 20, 256 << 20  # bytes
_PAGE = resources.files("aerodet.pipelines.ui") / "static"


def make_app(
    library: Library,
    registries: Registries,
    scratch: Path,
    *,
    cluster: Cluster | None = None,
    token: str | None = None,
) -> Guard:
    """Return the page as an ASGI application that only answers GET and HEAD.

    Args:
        library: the runs and artifacts that it shows.
        registries: the published models that it shows.
        scratch: folder for what is fetched from buckets to be looked at.
        cluster: the pipeline server whose runs and schedules it shows too.
        token: what a visitor must know; None lets everybody on this machine in, and nobody else.
    """
    pictures, api = Pictures(library, scratch), _Api(library, registries, cluster)
    routes = [
        Route("/", _static("index.html")),
        Route("/static/tokens.css", _static("tokens.css", resources.files("aerodet.report"))),  # the report's colours
        *(Route(f"/static/{name}", _static(name)) for name in _names()),
        Route("/api/overview", _json(lambda _: api.overview())),
        Route("/api/runs", _json(lambda _: api.runs())),
        Route("/api/runs/{run}", _json(api.run)),
        Route("/api/runs/{run}/logs/{stage}", _answered(api.log)),
        Route("/api/runs/{run}/report", _answered(api.report)),
        Route("/api/artifacts", _json(api.artifacts)),
        Route("/api/artifacts/{digest}", _json(lambda r: _artifacts.artifact_view(library, r.path_params["digest"]))),
        Route("/api/artifacts/{digest}/sections", _json(api.sections)),
        Route("/api/artifacts/{digest}/pictures", _json(lambda r: pictures.page(r.path_params["digest"], _offset(r)))),
        Route("/api/artifacts/{digest}/images/{index:int}", _answered(lambda r: _image(pictures, r))),
        Route("/api/artifacts/{digest}/text/{path:path}", _answered(api.text)),
        Route("/api/artifacts/{digest}/files/{path:path}", _answered(api.file)),
        Route("/api/lineage/{digest}", _json(api.lineage)),
        Route("/api/diff/{left}/{right}", _json(api.diff)),
        Route("/api/models", _json(lambda _: registries.models())),
        Route("/api/models/{name}/{version}", _json(api.version)),
        *([Route("/api/schedules", _json(lambda _: cluster.schedules()))] if cluster else []),
    ]
    return Guard(Starlette(routes=routes), token)


class _Api:
    def __init__(self, library: Library, registries: Registries, cluster: Cluster | None) -> None:
        self._library, self._registries, self._cluster = library, registries, cluster

    def overview(self) -> dict[str, Any]:
        catalog = self._library.catalog()
        problems = [{"where": problem.where, "reason": problem.reason} for problem in catalog.problems[:200]]
        return {
            "version": aerodet.__version__,
            "places": self._library.places,
            "runs": len(self._library.runs()),
            "artifacts": len(catalog),
            "problems": problems,
            "schedules": self._cluster is not None,
        }

    def runs(self) -> Any:
        rows = _runs.run_list(self._library) + (self._cluster.runs(self._library) if self._cluster else [])
        return sorted(rows, key=lambda row: (row.get("started") or "", row["id"]), reverse=True)

    def run(self, request: Request) -> Any:
        run_id = request.path_params["run"]
        if self._cluster is None or run_id in self._library.runs():
            return _runs.run_view(self._library, run_id)
        return self._cluster.run(self._library, run_id)

    def artifacts(self, request: Request) -> Any:
        return _artifacts.artifact_list(
            self._library, request.query_params.get("text", ""), request.query_params.get("kind", "")
        )

    def sections(self, request: Request) -> Any:
        return sections(self._library.artifact(request.path_params["digest"])[0])

    def lineage(self, request: Request) -> Any:
        direction = request.query_params.get("direction", "both")
        return _artifacts.lineage_view(self._library, request.path_params["digest"], direction)

    def diff(self, request: Request) -> Any:
        return _artifacts.diff_view(self._library, request.path_params["left"], request.path_params["right"])

    def version(self, request: Request) -> Any:
        return self._registries.version(request.path_params["name"], request.path_params["version"])

    def log(self, request: Request) -> Response:
        return PlainTextResponse(_runs.log(self._library, request.path_params["run"], request.path_params["stage"]))

    def report(self, request: Request) -> Response:
        content = self._library.run(request.path_params["run"]).read("report.html", REPORT_LIMIT)
        return HTMLResponse(content, headers={"content-security-policy": REPORT_POLICY})

    def text(self, request: Request) -> Response:
        record = self._library.artifact(request.path_params["digest"])[0]
        content = read_file(record.uri, request.path_params["path"], TEXT_LIMIT)
        return PlainTextResponse(content.decode(errors="replace"))

    def file(self, request: Request) -> Response:
        record, path = self._library.artifact(request.path_params["digest"])[0], request.path_params["path"]
        kind = "application/octet-stream"
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}"}
        if record.folder is None:
            return Response(read_file(record.uri, path, DOWNLOAD_LIMIT), media_type=kind, headers=headers)
        place = path_inside(record.uri, path)
        if not place.is_file():
            raise UserError(f"the artifact has no file {path}")
        return FileResponse(place, media_type=kind, headers=headers)


def _image(pictures: Pictures, request: Request) -> Response:
    content, kind = pictures.image(request.path_params["digest"], request.path_params["index"])
    return Response(content, media_type=kind, headers={"cache-control": "private, max-age=3600"})


def _offset(request: Request) -> int:
    text = request.query_params.get("offset", "0")
    if not text.isdecimal() or len(text) > 9:
        raise UserError(f"the offset is a number of pictures, not {text!r}")
    return int(text)


class _Json(JSONResponse):
    """JSON that a browser takes, whatever was read: half a surrogate pair is escaped, and what is no number is null."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the answer."""
        try:
            return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
        except ValueError:
            return json.dumps(_finite(content), allow_nan=False, separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(function: Callable[[Request], Any]) -> Callable[[Request], Response]:
    return _answered(lambda request: _Json(function(request)))


def _answered(function: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Return the endpoint, with our errors as sentences; it is no coroutine, so it runs in a thread."""

    def answer(request: Request) -> Response:
        try:
            return function(request)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 404)
        except AerodetError as error:
            return JSONResponse({"error": str(error)}, 503)
        except OSError as error:  # deleted or taken away while it was being read
            return JSONResponse({"error": f"{error.filename or 'a file'} cannot be read ({error.strerror})"}, 503)

    return answer


def _names() -> list[str]:
    return sorted(entry.name for entry in _PAGE.iterdir() if Path(entry.name).suffix in KINDS)


def _static(name: str, folder: Traversable = _PAGE) -> Callable[[Request], Response]:
    content = folder.joinpath(name).read_bytes()
    kind = KINDS[Path(name).suffix]

    def answer(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer
