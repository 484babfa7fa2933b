import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerodet.files import folder_digest
from aerodet.storage import FileNote, Snapshot, content, open_store, snapshot


def test_a_folder_and_a_bucket_with_the_same_files_have_the_folders_digest(bucket_uri, tmp_path):
    store = open_store(bucket_uri)
    for key in ("b", "a.txt", "a/z", "a/b/c", "é", "provenance.json", "a/provenance.json"):
        path = tmp_path / "folder" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
        store.write(key, key.encode())
    assert snapshot(store).digest == snapshot(open_store(tmp_path / "folder")).digest
    assert snapshot(store).digest == folder_digest(tmp_path / "folder")


def test_large_objects_are_digested_without_being_held_in_memory(bucket_uri, tmp_path, monkeypatch):
    monkeypatch.setattr(content, "_IN_MEMORY", 10)
    (tmp_path / "large").write_bytes(os.urandom(100))
    open_store(bucket_uri).upload(tmp_path / "large", "large")
    assert snapshot(open_store(bucket_uri)).digest == folder_digest(tmp_path)


def test_nothing_is_a_snapshot_too(tmp_path):
    assert snapshot(open_store(tmp_path)).digest == folder_digest(tmp_path)


notes = st.dictionaries(
    st.text("ab/", min_size=1),
    st.builds(FileNote, st.text("xy"), st.integers(0, 2), st.sampled_from(["1" * 64, "2" * 64])),
)


@given(notes, notes)
def test_changes_are_what_makes_one_snapshot_of_another(before, after):
    new, changed, gone = Snapshot(after).changes(Snapshot(before))
    made = {key: note for key, note in before.items() if key not in gone}
    made |= {key: after[key] for key in [*new, *changed]}
    assert {key: note.sha256 for key, note in made.items()} == {key: note.sha256 for key, note in after.items()}
    assert not set(new) & set(before)
    assert (new, changed, gone) == ([], [], []) or before != after


@pytest.mark.parametrize("touched", [False, True])
def test_only_what_is_not_known_is_read(tmp_path, touched):
    (tmp_path / "file").write_bytes(b"content")
    first = snapshot(open_store(tmp_path))
    known = Snapshot({"file": FileNote(first.files["file"].etag, 7, "0" * 64)})
    if touched:
        os.utime(tmp_path / "file", (1, 1))
    found = snapshot(open_store(tmp_path), known).files["file"].sha256
    assert found == (first.files["file"].sha256 if touched else "0" * 64)
