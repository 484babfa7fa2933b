"""Mirrors of a real S3 server, through a proxy that breaks things."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import boto3
import numpy as np
import pytest
from boto3.s3.transfer import TransferConfig
from fault_proxy import FaultProxy

from aerodet.errors import DataError, MachineError, UserError
from aerodet.storage.mirror import Access, Choice, MirrorOptions, mirror, verify

QUICK = MirrorOptions(retries=1, jobs=4)
SMALL, LARGE = 20_000, 3_000_000
REPOSITORY = Path(__file__).parents[3]


def content(key, size):
    return np.random.default_rng(list(key.encode())).bytes(size)


OBJECTS = {
    "annotations/instances_train_aircraft.json": content("json", 5_000),
    "LICENSE.txt": b"CC BY-SA 4.0",
    "empty.txt": b"",
    **{f"images/place_{n}.png": content(str(n), SMALL) for n in range(6)},
    **{f"images/place_{n}.png.aux.xml": b"<PAMDataset/>" for n in range(6)},
    "masks/place_1_mask.png": content("mask", 500),
    "large/a.bin": content("a", LARGE),
    "large/b.bin": content("b", LARGE),
}


@pytest.fixture(scope="module")
def server(s3_store):
    """The server with a filled bucket; returns the address of its prefix."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_store.endpoint,
        aws_access_key_id=s3_store.access_key,
        aws_secret_access_key=s3_store.secret_key,
        region_name="us-east-1",
    )
    for key, data in OBJECTS.items():
        client.put_object(Bucket=s3_store.bucket, Key=f"mirrored/{key}", Body=data)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    client.upload_fileobj(io.BytesIO(content("parts", 11 << 20)), s3_store.bucket, "parts/p.bin", Config=parts)
    odd = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=6 << 20)
    client.upload_fileobj(io.BytesIO(content("odd", 13 << 20)), s3_store.bucket, "odd/o.bin", Config=odd)
    yield s3_store
    client.close()


@pytest.fixture
def proxy(server, bucket_uri):
    with FaultProxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def source(server):
    return f"s3://{server.bucket}/mirrored"


def through(proxy, **options):
    return replace(QUICK, source=Access(proxy.endpoint), target=Access(proxy.endpoint), **options)


def files(folder):
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.relative_to(folder).parts[0] != ".mirror"
    }


def assert_whole(source, folder, proxy):
    """A call without faults ends with every byte right, and one more fetches nothing."""
    proxy.plan = lambda path, before: ""
    mirror(source, folder, through(proxy))
    assert files(folder) == OBJECTS
    assert verify(folder) == []
    proxy.asked.clear()
    assert mirror(source, folder, through(proxy)).fetched == 0
    assert not proxy.asked


def test_everything_is_fetched_once_and_named_with_its_digest(source, proxy, tmp_path):
    report = mirror(source, tmp_path / "m", through(proxy))
    assert (report.objects, report.fetched, report.present) == (len(OBJECTS), len(OBJECTS), 0)
    assert report.fetched_bytes == report.bytes == sum(map(len, OBJECTS.values()))
    manifest = json.loads((tmp_path / "m/.mirror/manifest.json").read_text())
    assert [entry["key"] for entry in manifest["objects"]] == sorted(OBJECTS)
    assert {entry["proof"] for entry in manifest["objects"]} == {"md5"}
    for entry in manifest["objects"]:
        assert entry["files"][0]["digest"] == f"md5:{hashlib.md5(OBJECTS[entry['key']]).hexdigest()}"
    assert not (tmp_path / "m/.mirror/parts").exists()
    assert_whole(source, tmp_path / "m", proxy)


def test_annotations_come_first_and_images_last(source, proxy, tmp_path):
    mirror(source, tmp_path / "m", through(proxy, jobs=1))
    order = [path.removeprefix("/tests/mirrored/") for path in proxy.asked]
    assert order[:2] == ["LICENSE.txt", "annotations/instances_train_aircraft.json"]
    assert all(key.endswith(".png") for key in order[-7:])


def test_what_is_there_already_is_taken_for_the_object_by_its_digest(source, proxy, tmp_path):
    for key in ("large/a.bin", "LICENSE.txt"):
        path = tmp_path / "m" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(OBJECTS[key])
    (tmp_path / "m/large/b.bin").write_bytes(bytes(LARGE))  # of the right size, and wrong
    report = mirror(source, tmp_path / "m", through(proxy))
    assert (report.present, report.fetched) == (2, len(OBJECTS) - 2)
    assert_whole(source, tmp_path / "m", proxy)


def test_a_file_that_was_changed_or_lost_is_fetched_again(source, proxy, tmp_path):
    mirror(source, tmp_path / "m", through(proxy))
    (tmp_path / "m/large/a.bin").write_bytes(b"other")
    (tmp_path / "m/LICENSE.txt").unlink()
    assert verify(tmp_path / "m") == ["LICENSE.txt is missing", "large/a.bin is not as it was fetched"]
    assert mirror(source, tmp_path / "m", through(proxy)).fetched == 2
    assert_whole(source, tmp_path / "m", proxy)


def test_a_dropped_connection_goes_on_from_the_byte_where_it_broke(source, proxy, tmp_path):
    proxy.plan = lambda path, before: "drop" if before == 0 and "large" in path else ""
    mirror(source, tmp_path / "m", through(proxy, retries=5))
    assert {int(text.removeprefix("bytes=").partition("-")[0]) > 0 for text in proxy.ranges} == {True}
    assert len(proxy.ranges) >= 2
    assert proxy.body_bytes < 1.1 * sum(map(len, OBJECTS.values()))
    assert_whole(source, tmp_path / "m", proxy)


@pytest.mark.parametrize("fault", ["drop", "short", "slow-down", "corrupt"])
def test_a_fault_that_passes_is_overcome_in_the_same_call(fault, source, proxy, tmp_path):
    proxy.plan = lambda path, before: fault if before < 2 else ""  # the direct way, and the careful one
    mirror(source, tmp_path / "m", through(proxy, retries=5))
    assert files(tmp_path / "m") == OBJECTS
    assert_whole(source, tmp_path / "m", proxy)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("drop", "could not be fetched"),
        ("short", r"could not be fetched, .* \(.*less than the object|broke\)"),
        ("slow-down", "the server asks to slow down"),
        ("corrupt", "the bytes that came are not the object's"),
        ("skew", "clock is wrong; set it"),
    ],
)
def test_a_fault_that_stays_ends_with_a_sentence_and_a_later_call_goes_on(fault, sentence, source, proxy, tmp_path):
    broken = {f"/tests/mirrored/{key}" for key, data in OBJECTS.items() if "b.bin" in key or "place_3" in key}
    proxy.plan = lambda path, before: fault if path in broken else ""
    with pytest.raises(MachineError, match=sentence) as caught:
        mirror(source, tmp_path / "m", through(proxy))
    assert "\n" not in str(caught.value)
    there = files(tmp_path / "m")
    assert all(OBJECTS[key] == data for key, data in there.items())  # nothing half-written, nothing wrong
    assert_whole(source, tmp_path / "m", proxy)


def test_a_server_that_is_gone_ends_the_call_soon(source, proxy, tmp_path):
    proxy.plan = lambda path, before: "slow-down"
    began = time.monotonic()
    with pytest.raises(MachineError, match="could not be fetched"):
        mirror(source, tmp_path / "m", through(proxy, retries=0))
    assert time.monotonic() - began < 20


def command(source, folder, *options):
    call = "from aerodet.pipelines.cli import main; main()"
    return [sys.executable, "-c", call, "data", "mirror", source, str(folder), "--jobs", "2", *options]


def sizes(parts: Path) -> dict[str, int]:
    """Bytes of each part in a folder that another process is writing: a part may be moved away meanwhile."""
    found = {}
    for path in parts.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = path.stat().st_size
    return found


def test_a_killed_process_leaves_what_a_later_call_goes_on_with(source, proxy, tmp_path, server):
    environment = {**os.environ, "AWS_ENDPOINT_URL": proxy.endpoint}
    parts = tmp_path / "m/.mirror/parts"
    end = time.monotonic() + 30
    with subprocess.Popen(
        command(source, tmp_path / "m", "--limit-rate", "1M"), env=environment, stderr=subprocess.DEVNULL
    ) as process:
        while time.monotonic() < end and not any(size > 600_000 for size in sizes(parts).values()):
            time.sleep(0.02)
        process.kill()
    begun = sizes(parts)
    assert max(begun.values()) > 600_000
    proxy.ranges.clear()
    mirror(source, tmp_path / "m", through(proxy))
    assert proxy.ranges
    assert_whole(source, tmp_path / "m", proxy)


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


def test_a_file_that_cannot_be_written_whole_ends_with_a_sentence(source, proxy, tmp_path):
    environment = {**os.environ, "AWS_ENDPOINT_URL": proxy.endpoint}
    result = subprocess.run(
        command(source, tmp_path / "m"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )
    assert result.returncode == 3
    assert "cannot be written (File too large)" in result.stderr
    assert_whole(source, tmp_path / "m", proxy)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_with_a_sentence_and_room_lets_it_go_on(source, proxy, small_disk):
    with pytest.raises(MachineError, match=r"the disk that holds .* is full; free some space"):
        mirror(source, small_disk / "m", through(proxy))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert_whole(source, small_disk / "m", proxy)


def test_an_object_in_parts_is_proved_by_its_parts_or_by_coming_twice_the_same(server, proxy, tmp_path):
    report = mirror(f"s3://{server.bucket}/parts", tmp_path / "parts", through(proxy))
    assert report.retried == 0
    assert json.loads((tmp_path / "parts/.mirror/manifest.json").read_text())["objects"][0]["proof"] == "parts"
    report = mirror(f"s3://{server.bucket}/odd", tmp_path / "odd", through(proxy))
    assert report.retried == 1
    assert json.loads((tmp_path / "odd/.mirror/manifest.json").read_text())["objects"][0]["proof"] == "length"
    assert verify(tmp_path / "odd") == []


def test_the_bandwidth_is_held_to_its_limit(server, proxy, tmp_path):
    began = time.monotonic()
    mirror(f"s3://{server.bucket}/mirrored/large", tmp_path / "m", through(proxy, limit=3e6))
    assert 1.4 < time.monotonic() - began < 6  # 6 MB at 3 MB/s, the last megabyte without waiting for it


def test_a_sample_brings_its_masks_and_side_files_and_all_annotations(source, proxy, tmp_path):
    taken = []
    for name in ("a", "b"):
        mirror(source, tmp_path / name, through(proxy, choice=Choice(sample=2, seed=5)))
        taken.append(set(files(tmp_path / name)))
    assert taken[0] == taken[1]
    images = {key for key in taken[0] if key.startswith("images/") and key.endswith(".png")}
    assert len(images) == 2
    assert {f"{key}.aux.xml" for key in images} <= taken[0]
    assert {"annotations/instances_train_aircraft.json", "LICENSE.txt", "large/a.bin"} <= taken[0]
    assert ("masks/place_1_mask.png" in taken[0]) == ("images/place_1.png" in taken[0])
    with pytest.raises(UserError, match="at least 1 image"):
        mirror(source, tmp_path / "c", through(proxy, choice=Choice(sample=0)))


def test_patterns_choose_and_leave_out(source, proxy, tmp_path):
    choice = Choice(include=("images/*", "*.txt"), exclude=("*.aux.xml",))
    mirror(source, tmp_path / "m", through(proxy, choice=choice))
    assert set(files(tmp_path / "m")) == {"LICENSE.txt", "empty.txt", *(f"images/place_{n}.png" for n in range(6))}
    with pytest.raises(DataError, match="none of the"):
        mirror(source, tmp_path / "n", through(proxy, choice=Choice(include=("video/*",))))


def test_one_object_can_be_named(source, proxy, tmp_path):
    mirror(f"{source}/large/a.bin", tmp_path / "m", through(proxy))
    assert files(tmp_path / "m") == {"a.bin": OBJECTS["large/a.bin"]}


def test_another_bucket_can_be_the_mirror(source, proxy, bucket_uri, server, tmp_path):
    proxy.plan = lambda path, before: "corrupt" if before == 0 and "mirrored" in path else ""
    report = mirror(source, bucket_uri, through(proxy, retries=5))
    assert report.fetched == len(OBJECTS)
    proxy.plan = lambda path, before: ""
    assert mirror(source, bucket_uri, through(proxy)).fetched == 0
    mirror(bucket_uri, tmp_path / "back", through(proxy))
    assert files(tmp_path / "back") == OBJECTS


@pytest.mark.parametrize(
    ("uri", "error", "sentence"),
    [
        ("rareplanes", UserError, "is no address of a bucket"),
        ("s3://tests/nothing", DataError, "holds no object"),
        ("s3://no-such-bucket/a", UserError, "there is no such bucket|access is denied"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(proxy, tmp_path, uri, error, sentence):
    with pytest.raises(error, match=sentence):
        mirror(uri, tmp_path / "m", through(proxy))


def test_a_bucket_that_is_not_public_refuses_the_anonymous(source, proxy, tmp_path):
    with pytest.raises(UserError, match="access is denied"):
        mirror(source, tmp_path / "m", replace(QUICK, source=Access(proxy.endpoint, anonymous=True)))


def test_a_folder_without_a_manifest_is_no_mirror(tmp_path):
    with pytest.raises(DataError, match="holds no manifest"):
        verify(tmp_path)
