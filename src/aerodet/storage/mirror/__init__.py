"""Mirrors of data sets in buckets: what was fetched is whole and proved, what was cut off goes on.

::

    report = mirror("s3://rareplanes-public/synthetic/train", "rareplanes/synthetic", MirrorOptions(sample=2000))
    verify("rareplanes/synthetic")              # reads everything again: [] when all of it is as the manifest says

Large objects come by obstore (Rust) and are written as they come, so memory does not depend on sizes, and a transfer
that breaks goes on from the byte where it broke. Objects of up to a megabyte come whole by plain connections in
threads, for a quarter less of the processor; one that does not is fetched as large ones are. Every object is held
against the digest that the server states for it.
"""

from aerodet.storage.mirror._journal import MANIFEST, STATE, verify
from aerodet.storage.mirror._select import Choice
from aerodet.storage.mirror._source import Access
from aerodet.storage.mirror._transfer import MirrorOptions, MirrorReport, mirror

__all__ = ["MANIFEST", "STATE", "Access", "Choice", "MirrorOptions", "MirrorReport", "mirror", "verify"]
