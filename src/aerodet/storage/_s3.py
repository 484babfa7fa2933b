"""A bucket's prefix as a store, by the S3 protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

from aerodet.errors import AerodetError, MachineError, UserError
from aerodet.files import atomic_path
from aerodet.storage.base import Entry, require_file, require_key

__all__ = ["BucketStore"]

_MISSING = ("404", "NoSuchKey", "NotFound")
_REFUSED = ("401", "403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch")


class BucketStore:
    """A :class:`aerodet.storage.Store` of the objects below a bucket's prefix.

    Args:
        bucket: its name.
        prefix: without a slash at its ends; empty for the whole bucket.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._client: Any = None

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def keys(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the objects whose key starts with ``prefix``."""
        with self._server(prefix) as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
            for page in pages:
                for item in page.get("Contents", ()):
                    key = item["Key"].removeprefix(self._prefix)
                    if key and not key.endswith("/"):  # what a console makes for an empty folder
                        yield Entry(key, item["Size"], item["ETag"].strip('"'), item["LastModified"].astimezone(UTC))

    def read(self, key: str, limit: int | None = None) -> bytes:
        """Return an object's bytes."""
        with self._server(key) as client, client.get_object(**self._at(key))["Body"] as body:
            content: bytes = body.read(limit)
            return content

    def write(self, key: str, content: bytes) -> None:
        """Write an object."""
        with self._server(key) as client:
            client.put_object(**self._at(key), Body=content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        with self._server(key) as client:
            client.delete_object(**self._at(key))

    def exists(self, key: str) -> bool:
        """Say whether there is an object of that key."""
        from botocore.exceptions import ClientError

        with self._server(key) as client:
            try:
                client.head_object(**self._at(key))
            except ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                return False
        return True

    def download(self, key: str, path: Path) -> None:
        """Copy an object out, large ones in parts."""
        with self._server(key) as client, atomic_path(path) as temporary, temporary.open("wb") as stream:
            client.download_fileobj(**self._at(key), Fileobj=stream)

    def upload(self, path: Path, key: str) -> None:
        """Copy a file in, large ones in parts."""
        require_file(path)
        with self._server(key) as client, path.open("rb") as stream:
            client.upload_fileobj(stream, **self._at(key))

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + require_key(key)}

    @contextmanager
    def _server(self, key: str) -> Iterator[Any]:
        """Yield boto3's client, and make a sentence of what it raises."""
        from botocore import exceptions

        place = f"s3://{self._bucket}/{self._prefix}{key}"
        try:
            if self._client is None:
                self._client = _client()
            yield self._client
        except exceptions.ClientError as error:
            raise self._refusal(error, place) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise UserError(
                f"there are no credentials for {place}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
                "pod an identity"
            ) from error
        except (exceptions.ParamValidationError, exceptions.ProfileNotFound) as error:
            raise UserError(f"{place} cannot be used: {' '.join(str(error).split())}") from error
        except exceptions.BotoCoreError as error:
            raise MachineError(
                f"{_endpoint()} did not answer for {place} ({type(error).__name__}); check AWS_ENDPOINT_URL and the "
                "network"
            ) from error

    def _refusal(self, error: Any, place: str) -> AerodetError:
        code = _code(error)
        if code == "NoSuchBucket":
            return UserError(f"there is no bucket {self._bucket} at {_endpoint()}; make it, or name another")
        if code in _MISSING:
            return UserError(f"{place} does not exist")
        if code in _REFUSED:
            return UserError(
                f"{_endpoint()} refused access to {place} ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                "the bucket's policy"
            )
        return MachineError(f"{_endpoint()} failed on {place} ({code}); try again later")


def _client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 5},
        # Newer checksums by default are refused by servers that only speak the S3 of some years ago.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client("s3", config=config)  # the default session keeps old credentials
    except ValueError as error:  # botocore's word for an endpoint that is no address
        raise UserError(f"the object store's address cannot be used ({error}); set AWS_ENDPOINT_URL") from error


def _endpoint() -> str:
    """Return the server's address as the user set it."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
