"""Lineage: where an artifact came from, told by the artifact itself.

Each stage writes a ``provenance.json`` into its output folder (:func:`write_provenance`). Walking from an artifact to
what it was made from, and to what was made from it, goes by digests alone, so it works on a laptop, in a bucket and
after a copy::

    catalog = Catalog.load(Path("runs"))
    target = resolve("runs/latest/artifacts/export-int8/bundle/model.engine", catalog)
    print(as_tree(walk(catalog, target.digests)))

What is read is not trusted: see :mod:`aerodet.lineage.catalog`.
"""

from aerodet.lineage.catalog import Catalog, Problem, Record, Use
from aerodet.lineage.diff import Change, Difference, compare
from aerodet.lineage.environment import CodeVersion, code_version, hardware, libraries
from aerodet.lineage.formats import FORMATS, as_dot, as_json, as_openlineage, as_sums, as_tree, facts, printable, title
from aerodet.lineage.graph import Ancestor, Edge, Graph, Node, upstream, walk
from aerodet.lineage.provenance import (
    BUILD_TYPE,
    InputRef,
    Provenance,
    parse_provenance,
    read_provenance,
    verify,
    write_provenance,
)
from aerodet.lineage.targets import Target, main_artifact, resolve, sinks

__all__ = [
    "BUILD_TYPE",
    "FORMATS",
    "Ancestor",
    "Catalog",
    "Change",
    "CodeVersion",
    "Difference",
    "Edge",
    "Graph",
    "InputRef",
    "Node",
    "Problem",
    "Provenance",
    "Record",
    "Target",
    "Use",
    "as_dot",
    "as_json",
    "as_openlineage",
    "as_sums",
    "as_tree",
    "code_version",
    "compare",
    "facts",
    "hardware",
    "libraries",
    "main_artifact",
    "parse_provenance",
    "printable",
    "read_provenance",
    "resolve",
    "sinks",
    "title",
    "upstream",
    "verify",
    "walk",
    "write_provenance",
]
