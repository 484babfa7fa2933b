"""The registry on a Kubeflow Model Registry, here a server of the tests; the files in a folder or a real S3 server."""

import asyncio
import datetime
import ipaddress
import sys
import time
from pathlib import Path

import pytest

from aerodet.errors import MachineError, RegistryError
from aerodet.registry import ARCHIVED, CHALLENGER, CHAMPION, open_registry
from aerodet.registry import kubeflow as module

sys.path.insert(0, str(Path(__file__).parent))
from registry_fake_kubeflow import FakeRegistry, serving

sys.path.pop(0)

FACTS = {
    "digests": {"test": "d" * 64},
    "metrics": {"ap50": 91.5},
    "parameters": {"train": {"epochs": 40, "rates": [0.1]}, "resume": True},
    "run_id": "run-1",
}


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    for name in ("AERODET_REGISTRY_TOKEN", "KF_PIPELINES_SA_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["v1", "v1alpha3"])
def server(request):
    registry = FakeRegistry(request.param)
    with serving(registry) as registry.host:
        yield registry


@pytest.fixture
def new_server():
    registry = FakeRegistry()
    with serving(registry) as registry.host:
        yield registry


def address(server, files, scheme="http"):
    return f"kubeflow+{scheme}://{server.host}?files={files}"


def opened(server, tmp_path, **changes):
    registry = open_registry(address(server, tmp_path / "files"))
    registry._api.waits = (0.01, 0.01)
    for name, value in changes.items():
        setattr(registry._api, name, value)
    return registry


def named(folder):
    return {path.name: path for path in folder.iterdir()}


def stored(tmp_path):
    return sorted(path.name for path in (tmp_path / "files").rglob("*") if path.is_file())


WHOLE = ["labels.txt", "model.engine", "model.onnx"]


def test_a_version_holds_its_files_and_facts(server, outputs, tmp_path):
    registry = opened(server, tmp_path)
    made = registry.publish("aircraft", named(outputs), **FACTS)
    assert (made.version, made.uri, made.aliases, made.stage) == (1, "models:/aircraft/1", (CHALLENGER,), CHALLENGER)
    assert registry.read(made, "model.engine") == b"plan"
    assert (made.folder / "model.engine").read_text() == "plan"
    assert made.metrics == {"ap50": 91.5}
    assert (made.tags["param.train.epochs"], made.tags["param.train.rates"]) == ("40", "[0.1]")
    assert (made.tags["run_id"], made.tags["digest.test"]) == ("run-1", "d" * 64)
    assert registry.find_by_digest("d" * 64) == made
    assert (registry.versions("nothing"), registry.versions("it's odd"), registry.models()) == ([], [], ["aircraft"])
    copy = registry.download(made, tmp_path / "copy")
    assert sorted(path.name for path in copy.iterdir()) == WHOLE


def test_the_server_keeps_flat_scalars_and_the_run_that_it_came_from(server, outputs, tmp_path, monkeypatch):
    (tmp_path / "namespace").write_text("team-a\n")
    monkeypatch.setattr(module, "_NAMESPACE", tmp_path / "namespace")
    opened(server, tmp_path).publish("aircraft", named(outputs), **FACTS)
    (version,) = server.versions("aircraft")
    assert {value["metadataType"] for value in version["customProperties"].values()} == {
        "MetadataStringValue",
        "MetadataDoubleValue",
    }
    assert version["customProperties"]["metric.ap50"] == {"double_value": 91.5, "metadataType": "MetadataDoubleValue"}
    assert version["state"] == "LIVE"
    (artifact,) = server.artifacts(version)
    assert artifact["uri"].startswith("file:///")
    source = {key: value for key, value in artifact.items() if key.startswith("modelSource")}
    assert source == {
        "modelSourceKind": "kfp",
        "modelSourceClass": "pipelinerun",
        "modelSourceGroup": "team-a",
        "modelSourceId": "run-1",
        "modelSourceName": "run-1",
    }


def test_the_same_engines_and_graphs_are_one_version(server, outputs, tmp_path):
    registry = opened(server, tmp_path)
    first = registry.publish("aircraft", named(outputs), **FACTS)
    (outputs / "labels.txt").write_text("aeroplane\n")
    assert registry.publish("aircraft", named(outputs), **FACTS | {"run_id": "run-2"}) == first
    assert stored(tmp_path) == WHOLE
    for plan in ("two", "three"):
        (outputs / "model.engine").write_text(plan)
        registry.publish("aircraft", named(outputs), **FACTS)
    assert [(v.version, v.aliases) for v in registry.versions("aircraft")] == [(1, ()), (2, ()), (3, (CHALLENGER,))]


def test_the_champion_moves_and_comes_back(server, outputs, tmp_path):
    registry = opened(server, tmp_path)
    for plan in ("one", "two", "three"):
        (outputs / "model.engine").write_text(plan)
        registry.publish("aircraft", named(outputs), **FACTS)
    registry.promote("aircraft", 1)
    registry.promote("aircraft", 2, instead_of=1)
    assert [v.stage for v in registry.versions("aircraft")] == [ARCHIVED, CHAMPION, CHALLENGER]
    with pytest.raises(RegistryError, match="the champion is 2 by now"):
        registry.promote("aircraft", 3, instead_of=1)
    assert registry.rollback("aircraft").version == 1
    assert [v["state"] for v in server.versions("aircraft")] == ["LIVE", "ARCHIVED", "LIVE"]
    assert registry.archive("aircraft", 3).stage == ARCHIVED
    assert registry.promote("aircraft", 3).stage == CHAMPION
    assert [v["state"] for v in server.versions("aircraft")] == ["LIVE", "ARCHIVED", "LIVE"]
    assert registry.get("aircraft", CHAMPION).tags["run_id"] == "run-1"


def test_the_files_go_to_a_bucket(new_server, outputs, bucket_uri, tmp_path):
    registry = open_registry(address(new_server, f"{bucket_uri}/models"))
    made = registry.publish("aircraft", named(outputs), **FACTS)
    assert made.location.startswith(f"{bucket_uri}/models/aircraft/{made.digest[:16]}/")
    assert registry.read(made, "model.onnx") == b"graph"
    assert new_server.artifacts(new_server.versions("aircraft")[0])[0]["uri"] == made.location
    with pytest.raises(RegistryError, match="not on this machine"):
        _ = made.folder
    copy = registry.download(made, tmp_path / "copy")
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == {p.name: p.read_bytes() for p in outputs.iterdir()}


def test_publishers_at_once_make_one_version(new_server, outputs, tmp_path, publishers):
    made = publishers("together", address(new_server, tmp_path / "files"), outputs, "aircraft", 4)
    assert len({tuple(line) for line in made}) == 1
    (version,) = new_server.versions("aircraft")
    assert len(new_server.artifacts(version)) == 1
    assert stored(tmp_path) == WHOLE


def test_a_killed_publisher_leaves_all_or_nothing(new_server, outputs, tmp_path, publishers):
    (outcomes,) = publishers("killed", address(new_server, tmp_path / "files"), outputs, 4)
    assert len(outcomes) >= 5
    for outcome in outcomes:
        assert [found[1] for found in outcome["after"]] in ([], [WHOLE]), outcome
        assert outcome["again"] == [[1, WHOLE, [CHALLENGER]]]
        (version,) = new_server.versions(f"model-{outcome['step']}")
        assert len(new_server.artifacts(version)) == 1
        assert version["state"] == "LIVE"


@pytest.mark.parametrize("kind", ["before", "after"])
def test_one_error_of_the_server_at_any_request_is_got_over(new_server, outputs, tmp_path, kind):
    registry = opened(new_server, tmp_path)
    registry.publish("warm-up", named(outputs), **FACTS)
    step = 0
    while True:
        start = len(new_server.requests)
        new_server.fault = lambda number, at=start + step: kind if number == at else None
        name = f"model-{step}"
        assert registry.publish(name, named(outputs), **FACTS).version == 1
        (version,) = new_server.versions(name)
        assert len(new_server.artifacts(version)) == 1
        if len(new_server.requests) - start <= step:
            break
        step += 1
    assert step >= 8


@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_server_that_fails_from_some_request_on_has_no_half_version(new_server, outputs, tmp_path, kind):
    registry = opened(new_server, tmp_path)
    registry.publish("warm-up", named(outputs), **FACTS)
    for step in range(8):
        start = len(new_server.requests)
        new_server.fault = lambda number, at=start + step: kind if number >= at else None
        name = f"model-{step}"
        with pytest.raises(MachineError, match=r"does not answer \(status 500\); once it does, do it again"):
            registry.publish(name, named(outputs), **FACTS)
        new_server.fault = lambda number: None
        found = registry.versions(name)
        assert all(sorted(v.files) == WHOLE for v in found)
        for version in new_server.versions(name):  # what is not complete looks archived to everybody
            assert version["state"] == "ARCHIVED" or len(new_server.artifacts(version)) == 1
        assert registry.publish(name, named(outputs), **FACTS).version == 1
        (version,) = new_server.versions(name)
        assert len(new_server.artifacts(version)) == 1


def test_a_server_that_does_not_answer_in_time_has_no_double(new_server, outputs, tmp_path):
    registry = opened(new_server, tmp_path, timeout=0.3)
    hung = []

    def once_a_step(number):
        if number in (3, 6, 9) and number not in hung:
            hung.append(number)
            return "hang"
        return None

    new_server.fault = once_a_step
    began = time.monotonic()
    assert registry.publish("aircraft", named(outputs), **FACTS).version == 1
    assert len(hung) == 3
    assert time.monotonic() - began < 15
    (version,) = new_server.versions("aircraft")
    assert len(new_server.artifacts(version)) == 1
    new_server.fault = lambda number: "hang"
    with pytest.raises(MachineError, match="does not answer"):
        registry.publish("aircraft", named(outputs), **FACTS)


def test_the_token_is_sent_and_never_shown(new_server, outputs, tmp_path, monkeypatch):
    new_server.token = "s3cret-token"
    with pytest.raises(RegistryError, match=r"does not let us in \(status 401\); give it a token"):
        opened(new_server, tmp_path).publish("aircraft", named(outputs), **FACTS)
    monkeypatch.setenv("AERODET_REGISTRY_TOKEN", "wrong-token")
    registry = opened(new_server, tmp_path)
    with pytest.raises(RegistryError, match="another token") as caught:
        registry.versions("aircraft")
    assert "wrong-token" not in f"{caught.value} {registry._api}"
    monkeypatch.setenv("AERODET_REGISTRY_TOKEN", "s3cret-token")
    registry = opened(new_server, tmp_path)
    assert registry.publish("aircraft", named(outputs), **FACTS).version == 1
    assert "s3cret" not in f"{registry._api} {vars(registry)}"


def test_a_pods_token_goes_over_https_only(new_server, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("of-the-pod\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    opened(new_server, tmp_path).models()
    assert {request[2] for request in new_server.requests} == {None}
    assert module._token(secure=True) == "of-the-pod"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "missing"))
    with pytest.raises(RegistryError, match="cannot be read"):
        module._token(secure=True)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "ca.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


def test_https_trusts_the_authority_that_is_named_and_no_other(certificate, tmp_path):
    server = FakeRegistry()
    with serving(server, certificate) as server.host:
        place = address(server, tmp_path / "files", "https")
        assert open_registry(f"{place}&ca={certificate}").models() == []
        with pytest.raises(RegistryError, match=r"is not trusted .* name its authority's file by &ca=FILE"):
            open_registry(place).models()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kubeflow+http://host", "does not say where the files go"),
        ("kubeflow+https://host?files=models", "is a relative path"),
        ("kubeflow+https://host?files=/x&token=abc", "does not know token"),
        ("kubeflow+https://host?files=/x&ca=/nowhere.pem", "/nowhere.pem of the registry does not exist"),
        ("kubeflow+https://user:secret@host?files=/x", "holds a password"),
    ],
)
def test_an_address_that_will_not_do_is_one_sentence(text, sentence):
    with pytest.raises(RegistryError, match=sentence) as caught:
        open_registry(text)
    assert "secret" not in str(caught.value)


def test_a_promotion_that_another_overwrites_is_said(new_server, outputs, tmp_path):
    registry, rival = opened(new_server, tmp_path), opened(new_server, tmp_path)
    for plan in ("one", "two"):
        (outputs / "model.engine").write_text(plan)
        registry.publish("aircraft", named(outputs), **FACTS)
    write = registry._set_champions

    def both(name, champions):
        write(name, champions)
        rival._set_champions(name, [1])

    registry._set_champions = both
    with pytest.raises(RegistryError, match="was promoted at the same moment"):
        registry.promote("aircraft", 2)
    assert registry.get("aircraft", CHAMPION).version == 1


def test_a_login_page_is_no_model_registry(new_server, tmp_path):
    new_server.page = b"<html>Who are you?</html>"
    with pytest.raises(RegistryError, match="answers, but not as a Kubeflow Model Registry does"):
        opened(new_server, tmp_path).models()


def test_what_is_no_model_registry_is_said(new_server, tmp_path):
    new_server.api = "v9"
    with pytest.raises(RegistryError, match="is no Kubeflow Model Registry"):
        opened(new_server, tmp_path).models()
    with pytest.raises(MachineError, match="does not answer"):
        opened(FakeServerlessHost(), tmp_path).models()


class FakeServerlessHost:
    host = "127.0.0.1:9"


def test_it_works_where_an_event_loop_is_running(new_server, tmp_path):
    async def notebook():
        return opened(new_server, tmp_path).models()

    assert asyncio.run(notebook()) == []
