"""What MLMD tells of a run, asked by gRPC-web.

The requests that are expected and the answers that are given were serialised by ml-metadata 1.17.1's own classes, with
fields that aerodet does not read.
"""

import base64
import struct
from datetime import UTC, datetime

import pytest
from test_cluster_ui import START, ask, detail, start

from aerodet.errors import MachineError
from aerodet.lineage import Catalog, Record, write_provenance
from aerodet.pipelines.cluster import Access, Execution, connect, executions
from aerodet.pipelines.ui._app import make_app
from aerodet.pipelines.ui._cluster import Cluster
from aerodet.pipelines.ui._library import Library
from aerodet.pipelines.ui._registry import Registries

REQUESTS = {
    "GetContextByTypeAndName": [
        "ChJzeXN0ZW0uUGlwZWxpbmVSdW4SBXJ1bi03",
    ],
    "GetExecutionsByContext": [
        "CAkSAghk",
        "CAkSCAhkGgRtb3Jl",
    ],
    "GetEventsByExecutionIDs": [
        "CBYIFAgV",
    ],
    "GetArtifactsByID": [
        "CB8IIA==",
    ],
}
ANSWERS = {
    "GetContextByTypeAndName": [
        "CjgICRALGgVydW4tNyoXCgluYW1lc3BhY2USChoIa3ViZWZsb3cyEnN5c3RlbS5QaXBlbGluZVJ1bg==",
    ],
    "GetExecutionsByContext": [
        (
            "CsgBCBYQDBgFKhsKE2NhY2hlZF9leGVjdXRpb25faWQSBBoCMTMqGAoMZGlzcGxheV9uYW1lEggaBnN0ZXAtMiosCgZpbnB1dHMS"
            "IiIgChEKBHJhdGUSCREAAAAAAADgPwoLCgR0ZXh0EgMaAXgqEwoNcGFyZW50X2RhZ19pZBICCBQqFQoJdGFza19uYW1lEggaBnN0"
            "ZXAtMjIGcnVuLzIyOhlzeXN0ZW0uQ29udGFpbmVyRXhlY3V0aW9uQICUg7mXNEiw/oS5lzQKnwEIFBAMGAMqEgoMZGlzcGxheV9u"
            "YW1lEgIaACosCgZpbnB1dHMSIiIgChEKBHJhdGUSCREAAAAAAADgPwoLCgR0ZXh0EgMaAXgqEwoNcGFyZW50X2RhZ19pZBICCBQq"
            "DwoJdGFza19uYW1lEgIaADIGcnVuLzIwOhlzeXN0ZW0uQ29udGFpbmVyRXhlY3V0aW9uQICUg7mXNEiw/oS5lzQSBG1vcmU="
        ),
        (
            "CtgBCBUQDBgDKhYKDGRpc3BsYXlfbmFtZRIGGgRzdGVwKhYKBWltYWdlEg0aC3B5dGhvbjozLjExKiwKBmlucHV0cxIiIiAKEQoE"
            "cmF0ZRIJEQAAAAAAAOA/CgsKBHRleHQSAxoBeCoTCg1wYXJlbnRfZGFnX2lkEgIIFCoXCghwb2RfbmFtZRILGglzbWFsbC1hYmMq"
            "EwoJdGFza19uYW1lEgYaBHN0ZXAyBnJ1bi8yMToZc3lzdGVtLkNvbnRhaW5lckV4ZWN1dGlvbkCAlIO5lzRIsP6EuZc0"
        ),
    ],
    "GetEventsByExecutionIDs": [
        "ChkIHxAVGgoKCBIGYnVuZGxlIAQogJSDuZc0ChgIHxAWGgkKBxIFbW9kZWwgAyiAlIO5lzQKGQggEBYaCgoIEgZzY29yZXMgBCiAlIO5lzQ=",
    ],
    "GetArtifactsByID": [
        (
            "CocBCB8QAxo5bWluaW86Ly9tbHBpcGVsaW5lL3YyL2FydGlmYWN0cy9zbWFsbC9ydW4tNy9zdGVwL3UvYnVuZGxlKhUKCGFjY3Vy"
            "YWN5EgkRzczMzMzM7D8qGAoMZGlzcGxheV9uYW1lEggaBmJ1bmRsZTACQgxzeXN0ZW0uTW9kZWxIgJSDuZc0CokBCCAQAxo7bWlu"
            "aW86Ly9tbHBpcGVsaW5lL3YyL2FydGlmYWN0cy9zbWFsbC9ydW4tMS9zdGVwLTIvdS9zY29yZXMqFQoIYWNjdXJhY3kSCRHNzMzM"
            "zMzsPyoYCgxkaXNwbGF5X25hbWUSCBoGYnVuZGxlMAJCDHN5c3RlbS5Nb2RlbEiAlIO5lzQ="
        ),
    ],
}
GRPC = {"Content-Type": "application/grpc-web+proto"}
MADE = "minio://mlpipeline/v2/artifacts/small/run-7/step/u/bundle"


def frame(content, flag=0):
    return struct.pack(">BI", flag, len(content)) + content


class Store:
    """Answers each method's requests in turn, and notes them."""

    def __init__(self):
        self.asked = []
        self.answers = {method: iter(answers) for method, answers in ANSWERS.items()}

    def __call__(self, method, body):
        assert struct.unpack(">BI", body[:5]) == (0, len(body) - 5)
        self.asked.append((method, base64.b64encode(body[5:]).decode()))
        answer = base64.b64decode(next(self.answers[method]))
        return 200, GRPC, frame(answer) + frame(b"grpc-status:0\r\n", 0x80)


@pytest.fixture
def store(server):
    server.metadata = Store()
    return server.metadata


def test_executions_have_their_states_pods_and_artifacts(api, store):
    _, first, second = executions(api, "run-7")
    assert first == Execution(21, "step", "COMPLETE", pod="small-abc", outputs=(("bundle", MADE),))
    scores = "minio://mlpipeline/v2/artifacts/small/run-1/step-2/u/scores"
    assert second == Execution(
        22, "step-2", "CACHED", cached_from=13, inputs=(("model", MADE),), outputs=(("scores", scores),)
    )
    assert store.asked == [(method, text) for method, texts in REQUESTS.items() for text in texts]


def test_mlmd_is_asked_at_the_root_of_the_host_with_the_credentials_of_the_api(server, store, monkeypatch):
    monkeypatch.setenv("AERODET_KFP_TOKEN", "secret")
    executions(connect(Access(host=f"{server.url}/pipeline")), "run-7")
    assert server.headers[-1]["authorization"] == "Bearer secret"
    assert server.headers[-1]["x-grpc-web"] == "1"
    assert server.requests[-1] == "POST /ml_metadata.MetadataStoreService/GetArtifactsByID"


@pytest.mark.parametrize(
    "answer",
    [
        (404, {"Content-Type": "text/plain"}, b"no"),
        (200, {"Content-Type": "text/html"}, b"<!doctype html>"),
        (200, GRPC | {"grpc-status": "12"}, b""),
        (200, GRPC, frame(b"grpc-status: 5\r\n", 0x80)),
        (200, GRPC, frame(b"") + frame(b"grpc-status:0\r\n", 0x80)),
    ],
    ids=["no such page", "the page itself", "no such service", "no such type", "no such run"],
)
def test_without_mlmd_or_the_run_in_it_there_are_none(api, server, answer):
    server.metadata = lambda method, body: answer
    assert executions(api, "run-7") is None


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((503, {}, b""), r"gives no answer \(503"),
        ((200, GRPC | {"grpc-status": "14", "grpc-message": "no%20database"}, b""), "status 14: no database"),
        ((200, GRPC, frame(b"\xff\xff") + frame(b"grpc-status:0\r\n", 0x80)), "no GetContextByTypeAndNameResponse"),
        ((200, GRPC, frame(b"\x0a\x02\x08\x09")), "status missing"),
        ((200, GRPC, b"\x00\xff\xff\xff\xff" + frame(b"grpc-status:0\r\n", 0x80)), "failed"),
    ],
    ids=["fails", "says why", "no message", "cut off", "absurd size"],
)
def test_an_answer_that_is_none_is_the_machines_fault(api, server, answer, sentence):
    server.metadata = lambda method, body: answer
    with pytest.raises(MachineError, match=sentence):
        executions(api, "run-7")


def test_the_page_shows_what_the_cache_gave(api, server, package, store, tmp_path, monkeypatch):
    (tmp_path / "scores.json").write_text("{}")
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    facts = {"stage": "evaluate", "parameters": {}, "started": moment, "finished": moment}
    made = write_provenance(tmp_path, name="scores", inputs={}, annotations={"kind": "evaluation"}, **facts)
    library = Library([str(tmp_path)])
    catalog = Catalog([Record(made, "s3://mlpipeline/v2/artifacts/small/run-1/step-2/u/scores")])  # as in a bucket
    monkeypatch.setattr(library, "catalog", lambda: catalog)
    app = make_app(library, Registries([]), tmp_path, cluster=Cluster(api, "nightly"))
    run_id = start(api, server, package, detail(api, "step", "SUCCEEDED", 1), detail(api, "step-2", "SKIPPED", 2))
    _, found = ask(app, f"runs/{run_id}")
    first, second = found["stages"]
    assert (first["execution"], first["kept"], second["execution"], second["kept"]) == (21, False, 22, True)
    assert second["outputs"] == [{"name": "scores", "digest": made.digest, "kind": "evaluation"}]
    assert found["note"] is None


def test_a_page_without_an_answer_of_mlmd_stands_and_says_so(api, server, package, tmp_path):
    server.metadata = lambda method, body: (502, {}, b"")
    app = make_app(Library([str(tmp_path)]), Registries([]), tmp_path, cluster=Cluster(api, "nightly"))
    run_id = start(api, server, package, detail(api, "step", "SUCCEEDED", 1))
    status, found = ask(app, f"runs/{run_id}")
    assert (status, found["stages"][0]["state"], found["stages"][0]["began"] > START.isoformat()) == (
        200,
        "SUCCEEDED",
        True,
    )
    assert "502" in found["note"]
