import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerodet.errors import MachineError, UserError
from aerodet.storage import open_store


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    """Every test that takes it runs on a folder and on a bucket of a real server."""
    if request.param == "folder":
        return open_store(tmp_path / "store")
    return open_store(request.getfixturevalue("bucket_uri"))


def keys(store, prefix=""):
    return sorted(entry.key for entry in store.keys(prefix))


def test_what_was_written_is_read(store):
    store.write("a/b.txt", b"content")
    assert store.read("a/b.txt") == b"content"
    assert store.read("a/b.txt", limit=3) == b"con"
    assert store.read("a/b.txt", limit=99) == b"content"
    assert store.read("a/b.txt", limit=0) == b""
    store.write("a/b.txt", b"")
    assert store.read("a/b.txt", limit=5) == b""


def test_entries_have_size_and_time(store):
    begun = datetime.now(UTC) - timedelta(seconds=2)
    for key in ("b", "a/z", "a.txt", "a/b/c", "é", "Z"):
        store.write(key, key.encode())
    entries = sorted(store.keys(), key=lambda entry: entry.key)
    assert [entry.key for entry in entries] == ["Z", "a.txt", "a/b/c", "a/z", "b", "é"]
    assert [entry.size for entry in entries] == [1, 5, 5, 3, 1, 2]
    assert all(begun <= entry.modified <= datetime.now(UTC) + timedelta(seconds=2) for entry in entries)


def test_a_prefix_is_a_piece_of_text_not_a_folder(store):
    for key in ("runs/1", "runs/10", "runs/2", "runs-old/1"):
        store.write(key, b"")
    assert keys(store, "runs/1") == ["runs/1", "runs/10"]
    assert keys(store, "runs") == ["runs-old/1", "runs/1", "runs/10", "runs/2"]
    assert keys(store, "nothing/") == []
    assert keys(store, "../") == []


def test_an_etag_changes_with_the_content(store):
    store.write("key", b"one")
    (first,) = store.keys()
    assert list(store.keys()) == [first]
    store.write("key", b"two!")
    (second,) = store.keys()
    assert second.etag != first.etag


def test_more_objects_than_a_page_holds_are_all_listed(bucket_uri):
    store = open_store(bucket_uri)
    names = [f"{number:04d}" for number in range(1001)]
    for name in names:
        store.write(name, b"")
    assert keys(store) == names


def test_exists_and_delete(store):
    assert not store.exists("a/b")
    store.write("a/b", b"x")
    assert store.exists("a/b")
    assert not store.exists("a")
    store.delete("a")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("a/b/c")
    assert not store.exists("a/b")
    assert keys(store) == []


def test_files_go_in_and_out(store, tmp_path):
    content = os.urandom(9 << 20)  # above the size at which boto3 takes parts
    (tmp_path / "in.bin").write_bytes(content)
    store.upload(tmp_path / "in.bin", "deep/down.bin")
    store.download("deep/down.bin", tmp_path / "new" / "out.bin")
    assert (tmp_path / "new" / "out.bin").read_bytes() == content
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["out.bin"]


def test_what_is_missing_is_the_callers_mistake_and_leaves_nothing(store, tmp_path):
    with pytest.raises(UserError, match=r"a/b does not exist"):
        store.read("a/b")
    with pytest.raises(UserError, match=r"a/b does not exist"):
        store.download("a/b", tmp_path / "out" / "b")
    assert list(tmp_path.glob("out/*")) == []
    with pytest.raises(UserError, match="is not a file"):
        store.upload(tmp_path / "none", "a/b")


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "../a", "a/./b", "a/..", "a\0b"])
def test_what_is_no_key_is_refused(store, key):
    for action in (store.read, store.exists, store.delete, lambda key: store.write(key, b"")):
        with pytest.raises(UserError, match="is not a key"):
            action(key)


@pytest.fixture
def stores(bucket_uri, tmp_path):
    return open_store(bucket_uri), open_store(tmp_path)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.from_regex(r"[a-z.%+ é#?&=-]{1,8}x", fullmatch=True), st.binary(max_size=64), max_size=4))
def test_any_name_and_content_come_back(stores, content):
    for store in stores:
        for entry in store.keys():
            store.delete(entry.key)
        for key, value in content.items():
            store.write(key, value)
        assert {entry.key: store.read(entry.key) for entry in store.keys()} == content


def test_two_prefixes_of_a_bucket_do_not_see_each_other(bucket_uri):
    one, other, both = (open_store(f"{bucket_uri}{end}") for end in ("/one/", "/one-more", ""))
    one.write("key", b"1")
    other.write("key", b"2")
    assert (one.read("key"), other.read("key")) == (b"1", b"2")
    assert keys(both) == ["one-more/key", "one/key"]
    assert one.uri == f"{bucket_uri}/one"


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_store("data").uri == str(tmp_path / "data")
    assert open_store(f"file://{tmp_path}/a%20b").uri == f"{tmp_path}/a b"
    assert open_store("s3://bucket").uri == "s3://bucket"
    assert open_store("minio://mlpipeline/v2/artifacts/").uri == "s3://mlpipeline/v2/artifacts"
    for wrong in ("gs://bucket", "s3://", "s3:///prefix", "file://host/path", "http://x/y"):
        with pytest.raises(UserError, match="is not an address of files"):
            open_store(wrong)


def test_opening_makes_nothing(tmp_path):
    store = open_store(tmp_path / "store")
    assert keys(store) == []
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_being_written_is_not_listed(tmp_path):
    (tmp_path / ".key.123.partial").write_text("half")
    assert keys(open_store(tmp_path)) == []


def test_a_folder_does_not_hold_a_file_and_a_folder_of_one_name(tmp_path):
    store = open_store(tmp_path)
    store.write("a", b"")
    for key in ("a/b", "a/b/c"):
        with pytest.raises(UserError, match="cannot be a file"):
            store.write(key, b"")
    store.write("c/d", b"")
    with pytest.raises(UserError, match="cannot be a file"):
        store.write("c", b"")


def test_there_is_no_such_bucket(bucket_uri):
    store = open_store("s3://no-such-bucket/prefix")
    for action in (lambda: list(store.keys()), lambda: store.read("a")):
        with pytest.raises(UserError, match=r"there is no bucket no-such-bucket at http://127"):
            action()


def test_a_wrong_key_is_refused_without_being_shown(bucket_uri, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(UserError, match=r"refused access to .*check AWS_ACCESS_KEY_ID") as caught:
        open_store(bucket_uri).read("a")
    assert "wrong-secret" not in str(caught.value)


def test_without_credentials_it_is_said_how_to_give_them(bucket_uri, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match="there are no credentials"):
        open_store(bucket_uri).read("a")


def test_a_server_that_does_not_answer_is_the_machines_fault(bucket_uri, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(MachineError, match=r"http://127.0.0.1:9 did not answer"):
        open_store(bucket_uri).exists("a")


def test_an_address_of_a_server_that_is_none_is_refused(bucket_uri, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "here")
    with pytest.raises(UserError, match="set AWS_ENDPOINT_URL"):
        open_store(bucket_uri).read("a")


def test_a_file_that_may_not_be_read_is_the_machines_fault(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    store.write("key", b"")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(MachineError, match=r"key cannot be read \(Permission denied\)"):
        store.read("key")
