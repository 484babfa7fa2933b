"""A bucket as a mirror sees it: a list of objects, and bytes from an offset."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import S3Store

from aerodet.errors import AerodetError, DataError, MachineError, UserError

if TYPE_CHECKING:
    from obstore.store import S3Credential

__all__ = ["Access", "Bucket", "Item", "TransientError", "parse_uri"]

CHUNK = 1 << 20  # bytes in memory a transfer
_REGIONS = {"rareplanes-public": "us-west-2"}
_SCHEME = "s3://"
_CREDENTIALS_LAST = timedelta(minutes=10)  # then botocore is asked again, which renews what runs out


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a bucket.

    Args:
        endpoint: of another server than AWS, as ``AWS_ENDPOINT_URL`` has it, which it defaults to.
        region: of the bucket; ``AWS_REGION`` and ``AWS_DEFAULT_REGION`` when None.
        anonymous: sign nothing; when None, sign where boto3 finds credentials.
    """

    endpoint: str | None = None
    region: str | None = None
    anonymous: bool | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One object: its key below the mirrored prefix, its size in bytes and its entity tag."""

    key: str
    size: int
    etag: str


class TransientError(Exception):
    """A transfer that broke and may go well when it is tried again."""


def parse_uri(uri: str) -> tuple[str, str]:
    """Return the bucket and the prefix of ``s3://bucket/prefix``.

    Raises:
        UserError: it is no such address.
    """
    bucket, _, prefix = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not bucket:
        raise UserError(f"{uri} is no address of a bucket; give one such as s3://rareplanes-public/real")
    return bucket, prefix.strip("/")


class Bucket:
    """A bucket's prefix.

    Args:
        uri: ``s3://bucket/prefix``.
        access: how to reach it.
        retries: how often a request that the server turned down is made again before it counts as failed.

    Attributes:
        region: of the bucket.
        credentials: botocore's, to sign with; None where nothing is signed.
    """

    def __init__(self, uri: str, access: Access, retries: int = 3) -> None:
        self.uri = uri.rstrip("/")
        bucket, self._prefix = parse_uri(uri)
        endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        named = access.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        self.region = named or _REGIONS.get(bucket, "us-east-1")
        self._root = f"{(endpoint or f'https://s3.{self.region}.amazonaws.com').rstrip('/')}/{bucket}"
        options: dict[str, Any] = {"region": self.region}
        if endpoint:
            options["endpoint"] = endpoint
        self.credentials = None if access.anonymous else _credentials()
        if access.anonymous is False and self.credentials is None:
            raise UserError(f"there are no credentials to sign requests to {uri} with; set them, or use --anonymous")
        if self.credentials is None:
            options["skip_signature"] = True
        self._store = S3Store(
            bucket,
            **options,
            credential_provider=_provider(self.credentials) if self.credentials is not None else None,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
                "timeout": timedelta(hours=24),  # of a whole object; the next limit is for its silence
                "read_timeout": timedelta(seconds=60),
                "connect_timeout": timedelta(seconds=20),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(minutes=2),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=10),
                    "base": 2,
                },
            },
        )

    @property
    def url(self) -> str:
        """The address below which an object lies under its key."""
        return f"{self._root}/{self._prefix}" if self._prefix else self._root

    async def items(self) -> list[Item]:
        """Return the objects below the prefix, or the one object that it names, by key.

        Raises:
            DataError: there is none.
            AerodetError: the bucket cannot be read.
        """
        found: list[Item] = []
        cut = len(self._prefix) + 1 if self._prefix else 0
        try:
            async for page in obstore.list(self._store, self._prefix or None, chunk_size=1000):
                found += [Item(m["path"][cut:], m["size"], (m["e_tag"] or "").strip('"')) for m in page]
            if not found and self._prefix:
                meta = await obstore.head_async(self._store, self._prefix)
                name = self._prefix.rpartition("/")[2]
                found.append(Item(name, meta["size"], (meta["e_tag"] or "").strip('"')))
                self._prefix = self._prefix.rpartition("/")[0]
        except FileNotFoundError:
            pass
        except BaseError as error:
            raise _told(self.uri, error, final=True) from error
        # Not those that a console makes for empty folders, nor the state of a mirror.
        found = [
            item for item in found if item.key and not item.key.endswith("/") and not item.key.startswith(".mirror/")
        ]
        if not found:
            raise DataError(f"{self.uri} holds no object; check the bucket and the prefix")
        return sorted(found, key=lambda item: item.key)

    async def read(self, item: Item, offset: int = 0, chunk: int = CHUNK) -> AsyncIterator[Any]:
        """Yield an object's bytes from an offset, about ``chunk`` at a time.

        Raises:
            TransientError: the transfer broke, or the server is busy.
            AerodetError: the server refuses.
        """
        path = f"{self._prefix}/{item.key}" if self._prefix else item.key
        options: Any = {"if_match": f'"{item.etag}"'} if item.etag else {}
        if offset:
            options["range"] = {"offset": offset}
        try:
            result = await obstore.get_async(self._store, path, options=options)
            if item.size - offset <= chunk:
                yield await result.bytes_async()
            else:
                async for part in result.stream(min_chunk_size=chunk):
                    yield part
        except FileNotFoundError as error:
            raise DataError(f"{self.uri}/{item.key} is gone from the bucket; run the command again") from error
        except PreconditionError as error:
            raise DataError(f"{self.uri}/{item.key} was changed while it was fetched; run the command again") from error
        except BaseError as error:
            raise _told(f"{self.uri}/{item.key}", error) from error

    async def write(self, key: str, content: Any) -> str:
        """Write bytes, or an asynchronous iterator of them, as an object; returns its entity tag.

        Raises:
            TransientError: the transfer broke, or the server is busy.
            AerodetError: the server refuses.
        """
        path = f"{self._prefix}/{key}" if self._prefix else key
        try:
            return ((await obstore.put_async(self._store, path, content))["e_tag"] or "").strip('"')
        except BaseError as error:
            raise _told(f"{self.uri}/{key}", error) from error

    async def get(self, key: str) -> bytes | None:
        """Return a small object's bytes, None where there is none."""
        path = f"{self._prefix}/{key}" if self._prefix else key
        try:
            return bytes(await (await obstore.get_async(self._store, path)).bytes_async())
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise _told(f"{self.uri}/{key}", error, final=True) from error

    async def existing(self) -> dict[str, Item]:
        """Return what is below the prefix by key; nothing is fine."""
        try:
            return {item.key: item for item in await self.items()}
        except DataError:
            return {}


def _credentials() -> Any:
    """Return the credentials that boto3 would find, None where there are none; boto3 itself takes longer to load."""
    from botocore.session import Session

    return Session().get_credentials()


def _provider(credentials: Any) -> Callable[[], S3Credential]:
    """Return what obstore asks for credentials, now and again."""

    def provide() -> S3Credential:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LAST,
        }

    return provide


def _told(where: str, error: BaseError, *, final: bool = False) -> AerodetError | TransientError:
    """Return what an error of obstore is for a person, or that it may pass."""
    text = str(error)
    if "RequestTimeTooSkewed" in text:
        return MachineError(
            f"{where}: the server refuses requests because this machine's clock is wrong; set it, then run the command "
            "again"
        )
    if "NoSuchBucket" in text:
        return UserError(f"{where}: there is no such bucket; check the address and the endpoint")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in text:
        return UserError(
            f"{where}: access is denied; set the credentials that boto3 reads, or use --anonymous for a public bucket"
        )
    if "PermanentRedirect" in text or "301 Moved" in text:
        return UserError(f"{where}: the bucket is in another region; give it with --region")
    brief = next((word for word in ("SlowDown", "503", "timed out", "Connection refused") if word in text), "")
    reason = {"503": "the server is busy", "SlowDown": "the server asks to slow down"}.get(brief, brief)
    reason = reason or "the connection broke"
    return MachineError(f"{where} cannot be read ({reason}); try again later") if final else TransientError(reason)
