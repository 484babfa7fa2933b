"""What the gate said, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["GateRule", "GateSummary"]


@dataclass(frozen=True, slots=True)
class GateRule:
    """One rule: its name, its verdict (``passed``, ``failed``, ``skipped``) and the sentence with its numbers."""

    name: str
    verdict: str
    sentence: str


@dataclass(frozen=True, slots=True)
class GateSummary:
    """The gate's verdict on the INT8 model, and what became of the model.

    Attributes:
        passed: whether no rule failed.
        rules: each rule's verdict.
        outcome: one sentence: as what it was published, and why.
    """

    passed: bool
    rules: tuple[GateRule, ...]
    outcome: str = ""

    @classmethod
    def from_dicts(cls, gate: Mapping[str, Any], version: Mapping[str, Any]) -> GateSummary:
        """Read ``gate.json`` and ``version.json``."""
        rules = tuple(GateRule(rule["name"], rule["verdict"], rule["sentence"]) for rule in gate["rules"])
        if version["published"]:
            outcome = f"Published as version {version['version']}, {version['stage']}: {version['remark']}."
        else:
            outcome = f"Not published: {version['reason']}."
        return cls(bool(gate["passed"]), rules, outcome)
