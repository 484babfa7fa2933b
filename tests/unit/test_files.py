import errno
import os
from pathlib import Path

import pytest

from aerodet.errors import MachineError
from aerodet.files import atomic_path, disk_errors, file_digest, folder_digest, read_json, write_json, write_text


def fail(number, begun=None):
    if begun is not None:
        begun.write_text("half")
    raise OSError(number, os.strerror(number))


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_folder_replaces_an_older_one_as_a_whole(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert [p.name for p in path.iterdir()] == ["new"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(path) as temporary:
        fail(errno.ENOENT, temporary)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_the_machines_fault(tmp_path, number):
    sentence = f"the disk that holds {tmp_path} is full; free some space"
    with pytest.raises(MachineError, match=sentence), disk_errors(tmp_path):
        fail(number)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_place_is_the_machines_fault(tmp_path, number):
    with pytest.raises(MachineError, match=f"{tmp_path} cannot be written"), disk_errors(tmp_path):
        fail(number)


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        fail(errno.ENOENT)


def test_a_temporary_name_is_not_told(tmp_path):
    with (
        pytest.raises(MachineError) as caught,
        atomic_path(tmp_path / "set") as folder,
        atomic_path(folder / "file.txt"),
    ):
        fail(errno.ENOSPC)
    assert str(caught.value) == f"the disk that holds {tmp_path} is full; free some space"
    assert list(tmp_path.iterdir()) == []


def test_json_refuses_what_is_not_a_number(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1.5})
    assert read_json(tmp_path / "a.json") == {"a": 1.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == {"a": 1.5}


def test_a_digest_tells_content_and_names_and_nothing_else(tmp_path):
    def fill(folder: Path, names: list[str]) -> str:
        for name in names:
            write_text(folder / name, name)
        return folder_digest(folder)

    first = fill(tmp_path / "a", ["x", "deep/y"])
    assert fill(tmp_path / "b", ["deep/y", "x"]) == first
    write_text(tmp_path / "b" / "provenance.json", "{}")
    assert folder_digest(tmp_path / "b") == first
    (tmp_path / "b" / "x").rename(tmp_path / "b" / "z")
    assert folder_digest(tmp_path / "b") != first
    assert file_digest(tmp_path / "a" / "x") == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
