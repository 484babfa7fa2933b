"""The model card: what a version is, how good, made from what, and what it is not for; HTML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from aerodet.lineage import Provenance

__all__ = ["Card", "card_html", "card_markdown"]

_MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}


@dataclass(frozen=True, slots=True)
class Card:
    """What a model card tells.

    Attributes:
        name: the registered model.
        digest: SHA-256 of its engines and graphs.
        run_id: the run that made it.
        code: version of aerodet.
        bundle: ``files.json`` of the export.
        evaluation: ``evaluation.json`` of its INT8 graph.
        benchmark: ``benchmark.json``.
        gate: ``gate.json``; None where it was not judged.
        provenance: of the version's artifacts and all that they were made from, as far as it was at hand.
        signed: whether there is a signature beside it.
    """

    name: str
    digest: str
    run_id: str
    code: str
    bundle: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    benchmark: Mapping[str, Any]
    gate: Mapping[str, Any] | None
    provenance: Sequence[Provenance]
    signed: bool

    @property
    def sources(self) -> list[Provenance]:
        """The data sets that it was made from, those that were rendered or read from a folder."""
        return [p for p in self.provenance if p.stage in ("synthesize", "ingest")]

    @property
    def rendered(self) -> bool:
        """Whether no photograph was used, as far as is known."""
        return bool(self.sources) and all(p.stage == "synthesize" for p in self.sources)


def card_html(card: Card) -> str:
    """Return the card as one HTML page that loads nothing."""
    return _environment(autoescape=True).from_string(_template("card.html.j2")).render(card=card)


def card_markdown(card: Card) -> str:
    """Return the card as Markdown."""
    environment = _environment(autoescape=False)
    environment.finalize = lambda value: _markdown(value) if isinstance(value, str) else value
    text = environment.from_string(_template("card.md.j2")).render(card=card)
    return re.sub(r"\n{3,}", "\n\n", text)


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "ap": lambda value: "–" if value is None or value < 0 else f"{value:.1f}",
        "count": lambda value: f"{value:,}",
        "mark": lambda verdict: _MARKS[verdict],
        "size": lambda size: f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB",
    }
    return environment


def _markdown(text: str) -> str:
    """Keep text from being taken for Markdown or HTML, and on its line."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", escape(" ".join(text.split()), quote=False))


def _template(name: str) -> str:
    return resources.files("aerodet.registry").joinpath(name).read_text(encoding="utf-8")
