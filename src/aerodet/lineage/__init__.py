"""Lineage: where an artifact came from, told by the artifact itself.

Each stage writes a ``provenance.json`` into its output folder (:func:`write_provenance`). The walk from an artifact to
what it was made from (:func:`upstream`) goes by digests alone, so it works on a laptop, in a bucket and after a copy.
"""

from aerodet.lineage.environment import CodeVersion, code_version, hardware, libraries
from aerodet.lineage.graph import Ancestor, upstream
from aerodet.lineage.provenance import BUILD_TYPE, InputRef, Provenance, read_provenance, verify, write_provenance

__all__ = [
    "BUILD_TYPE",
    "Ancestor",
    "CodeVersion",
    "InputRef",
    "Provenance",
    "code_version",
    "hardware",
    "libraries",
    "read_provenance",
    "upstream",
    "verify",
    "write_provenance",
]
