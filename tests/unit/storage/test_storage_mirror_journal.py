"""The journal of a mirror, and the credentials that its store asks for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from aerodet.storage.mirror._journal import MANIFEST, STATE, Entry, Journal, Member
from aerodet.storage.mirror._source import _provider


def note(journal: Journal, folder: Path, key: str, content: bytes = b"1") -> None:
    """Write a file and note it as a mirror does."""
    (folder / key).write_bytes(content)
    changed = (folder / key).stat().st_mtime_ns
    journal.add(Entry(key, len(content), "", "length", [Member(key, len(content), "sha256:0", changed)]))


def keys(folder: Path) -> list[str]:
    """Return the keys of a journal's lines."""
    return [json.loads(line)["key"] for line in (folder / STATE / "journal.jsonl").read_text().splitlines()]


def test_a_journal_that_repeats_nothing_stays_as_it_was_written(tmp_path):
    journal = Journal(tmp_path)
    for key in ("b", "a"):
        note(journal, tmp_path, key)
    journal.close("s3://x")

    assert keys(tmp_path) == ["b", "a"]
    assert [entry["key"] for entry in json.loads((tmp_path / MANIFEST).read_text())["objects"]] == ["a", "b"]


def test_an_object_that_was_noted_again_has_one_line_at_the_end(tmp_path):
    journal = Journal(tmp_path)
    for key, content in (("b", b"1"), ("a", b"1"), ("b", b"22")):
        note(journal, tmp_path, key, content)
    journal.close("s3://x")

    assert keys(tmp_path) == ["a", "b"]
    assert Journal(tmp_path).holds("b", 2, "")


def test_a_torn_line_and_a_lost_file_leave_the_journal(tmp_path):
    first = Journal(tmp_path)
    for key in ("a", "b"):
        note(first, tmp_path, key)
    first.stop()
    with (tmp_path / STATE / "journal.jsonl").open("a") as stream:
        stream.write('{"key": "c", "si')
    (tmp_path / "b").unlink()
    second = Journal(tmp_path)
    note(second, tmp_path, "d")
    second.close("s3://x")

    assert keys(tmp_path) == ["a", "d"]


def test_a_store_is_given_the_credentials_of_the_moment():
    frozen = iter([("key", "secret", None), ("key2", "secret2", "token2")])
    names = ("access_key", "secret_key", "token")
    source = SimpleNamespace(
        get_frozen_credentials=lambda: SimpleNamespace(**dict(zip(names, next(frozen), strict=True)))
    )
    provide = _provider(source)

    first, second = provide(), provide()

    assert (first["access_key_id"], first["secret_access_key"], first["token"]) == ("key", "secret", None)
    assert (second["access_key_id"], second["token"]) == ("key2", "token2")
    assert second["expires_at"] >= first["expires_at"]
