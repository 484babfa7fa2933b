"""A real S3 server for the tests: SeaweedFS in one process, on loopback, for as long as the session lasts."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as what a shell starts in the background inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)

PARTS = ("master", "volume", "filer", "s3", "admin")


@dataclass(frozen=True)
class S3Server:
    """Where the server is, and who may use it.

    Attributes:
        endpoint: what ``AWS_ENDPOINT_URL`` takes.
        access_key: what ``AWS_ACCESS_KEY_ID`` takes.
        secret_key: what ``AWS_SECRET_ACCESS_KEY`` takes.
        bucket: an empty bucket's name.
    """

    endpoint: str
    access_key: str = "aerodet-tests"
    secret_key: str = "secret-of-the-tests"
    bucket: str = "tests"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which boto3 finds the server, and nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }


@pytest.fixture(autouse=True)
def no_stray_log_handlers() -> Iterator[None]:
    """Take away what ``logging.info`` puts on the root logger: it holds the output of a test that is over."""
    yield
    for handler in logging.root.handlers[:]:
        if type(handler) is logging.StreamHandler:
            logging.root.removeHandler(handler)


@pytest.fixture(scope="session")
def s3_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server with one bucket."""
    folder = tmp_path_factory.mktemp("s3")
    with ExitStack() as stack:
        for attempt in range(3):  # another process may take a port between the choice and the start
            process, server = _start(folder / str(attempt))
            stack.callback(_stop, process)
            if _answers(process, server):
                break
        else:
            pytest.fail(f"the S3 server does not start:\n{(folder / '2' / 'log').read_text()[-2000:]}")
        yield server


@pytest.fixture
def bucket_uri(s3_store: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty prefix in the bucket; boto3's environment points to the server."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_store.bucket}/{uuid.uuid4().hex[:12]}"


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], S3Server]:
    (folder / "data").mkdir(parents=True)
    numbers = free_ports(2 * len(PARTS))
    ports = [f"-{part}.port={number}" for part, number in zip(PARTS, numbers, strict=False)]
    ports += [f"-{part}.port.grpc={number}" for part, number in zip(PARTS, numbers[len(PARTS) :], strict=True)]
    server = S3Server(f"http://127.0.0.1:{numbers[PARTS.index('s3')]}")
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = [
        str(Path(sys.executable).with_name("weed")),
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-bucket={server.bucket}",
        f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        *ports,
    ]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT), server


def _answers(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Wait until the bucket can be listed and written, which comes later than the server's first answers."""
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5),
    )
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"")
            client.delete_object(Bucket=server.bucket, Key="ready")
            client.list_objects_v2(Bucket=server.bucket)
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # there is nothing to keep, and a polite end takes two seconds
    process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for candidate in sockets:
            candidate.bind(("127.0.0.1", 0))
        return [candidate.getsockname()[1] for candidate in sockets]
