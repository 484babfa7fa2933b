"""What is inside an artifact, as sections that the page knows how to draw: figures, tables, curves, graphs, text.

The files may come from anybody: a file that does not hold what its name promises gives no section but a note.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from aerodet.errors import AerodetError
from aerodet.lineage import Record
from aerodet.pipelines.ui._artifacts import files_of
from aerodet.pipelines.ui._library import parse_json, read_file

__all__ = ["sections"]

Section = dict[str, Any]
TEXT_LIMIT, JSON_LIMIT, GRAPH_LIMIT = 256 << 10, 16 << 20, 256 << 20  # bytes
TEXTS = (".txt", ".json", ".yaml", ".cache", ".md", ".csv", ".pbtxt", ".log")
MOST_ROWS, MOST_POINTS = 200, 2_000
_SLICE = {"small": "small, under 32 px", "medium": "medium, 32 to 96 px", "large": "large, over 96 px"}


def sections(record: Record) -> list[Section]:
    """Return what can be shown of an artifact; pictures are told of elsewhere."""
    found: list[Section] = []
    names = [name for name, _, _ in files_of(record)]
    for name in names:
        reader = _READERS.get(name) or (_graph if name.endswith(".onnx") else None)
        if reader is not None:
            try:
                found += reader(record, name)
            except AerodetError as error:
                found.append({"type": "note", "title": name, "text": str(error)})
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OverflowError):
                found.append({"type": "note", "title": name, "text": f"{name} does not hold what its name promises."})
    texts = [name for name in names if name.endswith(TEXTS)]
    if texts:
        found.append({"type": "texts", "title": "Files as text", "files": texts[:MOST_ROWS]})
    return found


def _json(record: Record, name: str) -> Any:
    return parse_json(read_file(record.uri, name, JSON_LIMIT))


def _evaluation(record: Record, name: str) -> Iterator[Section]:
    content = _json(record, name)
    tiles = [
        {"label": label, "value": _number(content[key]), "unit": "%"}
        for key, label in (
            ("ap50", "AP50"),
            ("ap75", "AP75"),
            ("ap", "AP, IoU 0.5 to 0.95"),
            ("tao_sample", "AP, TAO sample"),
            ("tao_integrate", "AP, TAO integrate"),
        )
    ]
    yield {"type": "tiles", "tiles": tiles}
    curve = content["curve"]
    points = [[_number(r), _number(p)] for r, p in zip(curve["recall"], curve["precision"], strict=True)][:MOST_POINTS]
    yield {"type": "curve", "title": "Precision over recall at IoU 0.5", "points": points}
    rows = [[_SLICE.get(k, str(k)), v["ap50"], v["boxes"]] for k, v in content["slices"].items()]
    rows += [[f"class {key}", value["ap50"], None] for key, value in content["per_class"].items()]
    yield _table("By size and class", ["slice", "AP50, %", "boxes"], rows)


def _history(record: Record, name: str) -> Iterator[Section]:
    content = _json(record, name)[:MOST_POINTS]
    for key, title in (("ap50", "AP50 on the validation images, %"), ("loss", "Loss"), ("lr", "Learning rate")):
        points = [[_number(entry["epoch"]), _number(entry[key])] for entry in content if entry.get(key) is not None]
        if points:
            yield {"type": "line", "title": title, "points": points, "x": "epoch", "zero": key == "ap50"}


def _benchmark(record: Record, name: str) -> Iterator[Section]:
    content = _json(record, name)
    before, after = content["float"], content["int8"]
    yield {
        "type": "tiles",
        "tiles": [
            {"label": "INT8, median of a batch", "value": _number(after["median_ms"]), "unit": "ms"},
            {"label": "float, median of a batch", "value": _number(before["median_ms"]), "unit": "ms"},
            {"label": "throughput, INT8 over float", "value": _number(content["ratio"]), "unit": "×"},
        ],
    }
    labels = {"median_ms": "median, ms", "p10": "10th percentile, ms", "p90": "90th percentile, ms"}
    labels["images_per_s"] = "images per second"
    yield _table("Latency", ["", "float", "INT8"], [[labels.get(k, k), before[k], after.get(k)] for k in before])
    yield _pairs("How it was measured", {k: v for k, v in content.items() if k not in ("float", "int8", "ratio")})


def _audit(record: Record, name: str) -> Iterator[Section]:
    content = _json(record, name)
    rows = [
        [
            key,
            s["images"],
            s["boxes"],
            s.get("regions", 0),  # audits from before they were counted have none
            s["empty_images"],
            len(s["groups"]),
            s["box_side"].get("p50"),
        ]
        for key, s in content["sets"].items()
    ]
    headings = ["set", "images", "boxes", "ignored regions", "without boxes", "places", "median box side, px"]
    yield _table("Image sets", headings, rows)
    findings = [[f["severity"], f["kind"], f["set"], f["sentence"]] for f in content["findings"]]
    if findings:
        yield _table(f"Findings, {len(findings)}", ["severity", "kind", "set", "what"], findings)
    else:
        yield {"type": "note", "title": "Findings", "text": "Nothing is wrong with these sets.", "good": True}


def _files(record: Record, name: str) -> Iterator[Section]:
    content = _json(record, name)
    facts = {key: content[key] for key in ("classes", "size", "quantized", "parameters") if key in content}
    yield _pairs("Export", facts)
    rows = [[entry["name"], entry["bytes"], entry["purpose"]] for entry in content["files"]]
    yield _table("What each file is for", ["file", "bytes", "purpose"], rows)


def _engines(record: Record, name: str) -> Iterator[Section]:
    for engine, entry in list(_json(record, name).items())[:MOST_ROWS]:
        yield _pairs(f"Engine {engine}", {key: value for key, value in entry.items() if key != "file"})


def _values(title: str) -> Callable[[Record, str], Iterator[Section]]:
    def read(record: Record, name: str) -> Iterator[Section]:
        yield _pairs(title, _json(record, name))

    return read


def _graph(record: Record, name: str) -> Iterator[Section]:
    digest = record.provenance.files.get(name, record.provenance.digest)
    yield _summary(record.uri, name, digest)


@lru_cache(maxsize=64)
def _summary(uri: str, name: str, digest: str) -> Section:
    """Return what an ONNX graph is: inputs, outputs, operators, parameters."""
    del digest  # part of the key: another content under the same path is read anew
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(read_file(uri, name, GRAPH_LIMIT))
    except DecodeError as error:
        raise ValueError(str(error)) from error
    graph = model.graph
    operators = Counter(node.op_type for node in graph.node)
    weights = [(math.prod(tensor.dims), tensor.data_type) for tensor in graph.initializer]
    opsets = [f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import]
    facts = {
        "IR and opset": ", ".join([str(model.ir_version), *opsets]),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "nodes": len(graph.node),
        "weights": sum(count for count, _ in weights),
        "quantise and dequantise nodes": operators["QuantizeLinear"] + operators["DequantizeLinear"],
    }
    given = {tensor.name for tensor in graph.initializer}
    ends = [["input", v.name, _shape(v)] for v in graph.input if v.name not in given]
    ends += [["output", v.name, _shape(v)] for v in graph.output]
    return {
        "type": "onnx",
        "title": name,
        "facts": [[key, value] for key, value in facts.items()],
        "ends": ends[:MOST_ROWS],
        "operators": operators.most_common(MOST_ROWS),
        "metadata": [[entry.key, entry.value[:500]] for entry in model.metadata_props][:MOST_ROWS],
    }


def _shape(value: Any) -> str:
    import onnx

    tensor = value.type.tensor_type
    sides = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
    names = onnx.TensorProto.DataType
    kind = names.Name(tensor.elem_type) if tensor.elem_type in names.values() else "unknown"
    return f"{kind.lower()} [{', '.join(sides)}]"


def _table(title: str, heads: list[str], rows: list[list[Any]]) -> Section:
    cells = [[_cell(value) for value in row] for row in rows[:MOST_ROWS]]
    return {"type": "table", "title": title, "heads": heads, "rows": cells, "hidden": max(0, len(rows) - MOST_ROWS)}


def _pairs(title: str, values: Any) -> Section:
    flat = [[name, _cell(value)] for name, value in _flat(values)]
    return {"type": "pairs", "title": title, "pairs": flat[:MOST_ROWS], "hidden": max(0, len(flat) - MOST_ROWS)}


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list):
        yield name, ", ".join(str(value) for value in values[:MOST_ROWS])
    else:
        yield name, values


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:2_000]


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a figure")
    return number


_READERS: dict[str, Callable[[Record, str], Iterator[Section]]] = {
    "evaluation.json": _evaluation,
    "history.json": _history,
    "benchmark.json": _benchmark,
    "audit.json": _audit,
    "files.json": _files,
    "engine.json": _engines,
    "pruning.json": _values("Pruning"),
    "sample.json": _values("Sample"),
    "version.json": _values("Publication"),
    "results.json": _values("Results"),
}
