"""The stage that holds labels against a trained model."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aerodet.data import Images, ImageSet
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.device import pick_device
from aerodet.detectnet.inference import TorchPredictor, detect
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import read_spec
from aerodet.files import read_json, write_json
from aerodet.metrics import Suspect, rank_suspects
from aerodet.report.audit_page import draw_doubts, render_audit
from aerodet.stages._run import Outcome, stage

__all__ = ["review"]

_KEPT = 1000  # disagreements in review.json
_SHOWN = 12  # pictures of each set
_GRAVE = 0.5  # doubt from which a disagreement is counted


@stage("review", "page")
def review(*, real: Path, test: Path, audit: Path, model: Path, review: Path, page: Path) -> Outcome:
    """Rank the labels of the real and the test set by a model's disagreement.

    Args:
        real: image set of the real arm.
        test: image set that everything is tested on.
        audit: what the audit found.
        model: checkpoint that judges.
        review: receives ``review.json``.
        page: the HTML file.
    """
    predictor = TorchPredictor(load_model(model)[0], pick_device())
    settings = settings_of(read_spec(model / "spec.txt"))
    doubts, entries = [], []
    for name, folder in (("test", test), ("real", real)):
        images = ImageSet(folder)
        truth = [record.truth for record in images.records]
        suspects = rank_suspects(truth, detect(predictor, images, settings))
        doubts += draw_doubts(name, images, suspects, _SHOWN)
        entries += [_entry(name, images, suspect) for suspect in suspects]
    entries.sort(key=lambda entry: -float(entry["doubt"]))
    review.mkdir()
    write_json(review / "review.json", {"suspects": entries[:_KEPT], "found": len(entries)})
    render_audit(read_json(audit / "audit.json"), page, sorted(doubts, key=lambda doubt: -doubt.suspect.doubt))
    counts = Counter(entry["kind"] for entry in entries if entry["doubt"] >= _GRAVE)
    metadata = {"review": {"kind": "review", "schema": "aerodet/review/1"}, "page": {"kind": "report"}}
    return Outcome(metadata, {kind: float(counts[kind]) for kind in ("unlabelled", "unseen", "class", "outline")})


def _entry(name: str, images: Images, suspect: Suspect) -> dict[str, Any]:
    fields = {key: value for key, value in asdict(suspect).items() if key not in ("image", "label", "seen_label")}
    seen = None if suspect.seen_label is None else images.classes[suspect.seen_label]
    labels = {"label": images.classes[suspect.label], "seen_label": seen}
    return {"set": name, "image": images.records[suspect.image].file_name, **fields, **labels}
