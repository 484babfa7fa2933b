"""One small interface over a folder and a bucket.

::

    store = open_store("s3://bucket/prefix")        # or a folder
    for entry in store.keys("runs/"):
        content = store.read(entry.key)
"""

from aerodet.storage.base import Entry, Store, open_store
from aerodet.storage.content import FileNote, Snapshot, snapshot

__all__ = ["Entry", "FileNote", "Snapshot", "Store", "open_store", "snapshot"]
