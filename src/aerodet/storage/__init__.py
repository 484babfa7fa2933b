"""One small interface over a folder and a bucket.

::

    store = open_store("s3://bucket/prefix")        # or a folder
    for entry in store.keys("runs/"):
        content = store.read(entry.key)
"""

from aerodet.storage.base import Entry, Store, open_store

__all__ = ["Entry", "Store", "open_store"]
