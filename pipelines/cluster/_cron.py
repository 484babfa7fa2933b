"""Cron expressions: what people write, what Kubeflow Pipelines reads, and when that is."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

from aerodet.errors import UserError

__all__ = ["next_times", "six_fields", "written"]

_MACROS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}


def six_fields(cron: str) -> str:
    """Return a cron expression as Kubeflow Pipelines takes it: six fields, seconds first.

    The server reads an ordinary line of five fields as seconds, minutes, hours, days and months, and says nothing: two
    o'clock would become every hour. Sunday as 7 and the extensions ``L`` and ``#`` it does not know.

    Args:
        cron: five fields as in a crontab, six with seconds first, or a macro such as ``@daily``.

    Raises:
        UserError: it is no cron expression, or one that the server would not take.
    """
    text = " ".join(cron.split())
    if text.startswith("@"):
        if text not in _MACROS:
            raise UserError(f"{cron!r} is no schedule; use {', '.join(_MACROS)} or a cron expression")
        return _MACROS[text]
    fields = text.split(" ")
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise UserError(
            f"{cron!r} has {len(fields)} fields; write five (minute hour day month weekday) or six, seconds first"
        )
    if re.search(r"[LW#]", (fields[3] + re.sub(r"(?i)wed", "", fields[5])).upper()):
        raise UserError(f"{cron!r} uses L, W or #, which Kubeflow Pipelines does not know")
    fields[5] = _weekdays(fields[5])
    six = " ".join(fields)
    try:
        CronSim(six, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise UserError(f"{cron!r} is no cron expression: {str(error).lower()}") from error
    return six


def _weekdays(field: str) -> str:
    """Write Sunday as 0, also at the end of a range."""
    parts = []
    for part in field.split(","):
        if part == "7":
            parts.append("0")
        elif match := re.fullmatch(r"([0-6])-7", part):
            first = int(match[1])
            parts += ["0-6"] if first <= 1 else [f"{first}-6", "0"]
        else:
            parts.append(part)
    return ",".join(parts)


def written(six: str) -> str:
    """Return six fields as a person writes them: five where the seconds are nought."""
    return six.removeprefix("0 ") if six.startswith("0 ") and len(six.split()) == 6 else six


def next_times(
    cron: str | None, interval: int | None, *, zone: tzinfo, start: datetime, now: datetime, count: int = 5
) -> list[datetime]:
    """Return when a schedule starts its next runs.

    Args:
        cron: six fields, or None.
        interval: seconds, or None.
        zone: the server's time zone for cron expressions.
        start: when an interval began to count.
        now: from when.
        count: how many.
    """
    if cron is not None:
        return list(itertools.islice(CronSim(cron, now.astimezone(zone)), count))
    if not interval:
        return []
    passed = max(0, int((now - start).total_seconds() // interval))
    return [start + timedelta(seconds=interval * (passed + 1 + number)) for number in range(count)]
