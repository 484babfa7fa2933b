"""Archives that are unpacked as they come."""

from __future__ import annotations

import io
import tarfile

import boto3
import pytest
from fault_proxy import FaultProxy
from test_storage_mirror import content, files, through

from aerodet.errors import DataError, UserError
from aerodet.storage.mirror import mirror, verify

MEMBERS = {f"PS-RGB_tiled/tile_{n}.png": content(f"tile{n}", 300_000) for n in range(10)}


def archive(members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def plain(name, data=b"x"):
    return tarfile.TarInfo(name), data


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def upload(s3_store, bucket_uri):
    client = boto3.client("s3")

    def put(name, data):
        client.put_object(Bucket=s3_store.bucket, Key=f"{bucket_uri.partition('/tests/')[2]}/{name}", Body=data)
        return bucket_uri

    yield put
    client.close()


@pytest.fixture
def proxy(s3_store):
    with FaultProxy(s3_store.endpoint) as proxy:
        yield proxy


@pytest.mark.parametrize(("name", "mode"), [("t.tar.gz", "w:gz"), ("t.tgz", "w:gz"), ("t.tar", "w")])
def test_an_archive_becomes_its_files_and_is_not_kept(upload, proxy, tmp_path, name, mode):
    folder = special("PS-RGB_tiled", tarfile.DIRTYPE)
    uri = upload(f"train/{name}", archive([folder, *map(plain, MEMBERS, MEMBERS.values())], mode))
    mirror(uri, tmp_path / "m", through(proxy, unpack=True))
    assert files(tmp_path / "m") == {f"train/{path}": data for path, data in MEMBERS.items()}
    assert verify(tmp_path / "m") == []
    proxy.asked.clear()
    assert mirror(uri, tmp_path / "m", through(proxy, unpack=True)).fetched == 0
    assert not proxy.asked


def test_a_connection_that_breaks_goes_on_within_the_archive(upload, proxy, tmp_path):
    uri = upload("t.tar.gz", archive([plain(*pair) for pair in MEMBERS.items()]))
    proxy.plan = lambda path, before: "drop" if before < 2 else ""
    report = mirror(uri, tmp_path / "m", through(proxy, unpack=True))
    assert report.retried + len(proxy.ranges) >= 2
    assert files(tmp_path / "m") == MEMBERS


def test_an_archive_that_came_wrong_leaves_no_file_and_comes_again(upload, proxy, tmp_path):
    uri = upload("t.tar.gz", archive([plain(*pair) for pair in MEMBERS.items()]))
    proxy.plan = lambda path, before: "corrupt" if before == 0 else ""
    mirror(uri, tmp_path / "m", through(proxy, unpack=True))
    assert files(tmp_path / "m") == MEMBERS
    assert verify(tmp_path / "m") == []


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (plain("../outside.txt"), "outside its folder"),
        (plain("/tmp/outside.txt"), "outside its folder"),
        (plain("a/../../outside.txt"), "outside its folder"),
        (special("link", tarfile.SYMTYPE, "/etc"), "is no plain file"),
        (special("hard", tarfile.LNKTYPE, "../../etc/passwd"), "is no plain file"),
        (special("pipe", tarfile.FIFOTYPE), "is no plain file"),
        (special("device", tarfile.CHRTYPE), "is no plain file"),
    ],
)
def test_an_archive_that_would_leave_its_folder_is_refused_whole(upload, proxy, tmp_path, member, sentence):
    uri = upload("evil.tar.gz", archive([plain("good.txt"), member]))
    with pytest.raises(DataError, match=sentence):
        mirror(uri, tmp_path / "m", through(proxy, unpack=True))
    assert files(tmp_path / "m") == {}
    assert not (tmp_path / "outside.txt").exists()


def test_bytes_that_are_no_archive_are_told(upload, proxy, tmp_path):
    uri = upload("t.tar.gz", b"not an archive" * 1000)
    with pytest.raises(DataError, match=r"archive t.tar.gz is damaged"):
        mirror(uri, tmp_path / "m", through(proxy, unpack=True))


def test_archives_are_unpacked_into_folders_alone(upload, proxy):
    with pytest.raises(UserError, match="into folders alone"):
        mirror("s3://tests/a", "s3://tests/b", through(proxy, unpack=True))
