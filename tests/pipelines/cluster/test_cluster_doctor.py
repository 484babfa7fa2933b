import base64

import pytest
from fake_kubernetes import FakeKubernetes, claim, meta, node, quota, storage_class
from kubernetes import client as k

from aerodet.pipelines.cluster import Access, connect, examine
from aerodet.pipelines.cluster._calls import Caller
from aerodet.pipelines.cluster._kubernetes import Kubernetes
from aerodet.pipelines.profiles import load_profile

NAMESPACE = "/api/v1/namespaces/kubeflow"
SECRET = "secret-content-that-nobody-may-see"
KEYS = ("accesskey", "secretkey", "endpoint")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster that has everything that profile cluster asks for."""
    fake = FakeKubernetes(tmp_path)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(fake.kubeconfig))
    fake.put(NAMESPACE, k.V1Namespace(metadata=meta("kubeflow")))
    fake.put(f"{NAMESPACE}/serviceaccounts/pipeline-runner", k.V1ServiceAccount(metadata=meta("pipeline-runner")))
    content = {key: base64.b64encode(SECRET.encode()).decode() for key in KEYS}
    fake.put(f"{NAMESPACE}/secrets/aerodet-s3", k.V1Secret(metadata=meta("aerodet-s3"), data=content))
    fake.put(f"{NAMESPACE}/persistentvolumeclaims/aerodet-data", claim("aerodet-data", "Bound"))
    fake.put(f"{NAMESPACE}/resourcequotas", k.V1ResourceQuotaList(items=[]))
    fake.put("/api/v1/nodes", k.V1NodeList(items=[node("cpu"), node("gpu", 2)]))
    fake.put("/apis/storage.k8s.io/v1/storageclasses", k.V1StorageClassList(items=[storage_class("disk")]))
    yield fake
    fake.close()


@pytest.fixture
def look(server, cluster):
    """Return a function that gives what the doctor found, by check."""

    def examined(settings=(), **options):
        def quick(access):
            api = connect(access)
            api.caller = Caller(api.caller.server, api.caller.advice, pause=lambda _seconds: None)
            return api

        def kubernetes(context):
            return Kubernetes(context, Caller("the Kubernetes API", "renew it", pause=lambda _seconds: None))

        profile = load_profile("cluster", settings)
        access = Access(host=server.url)
        options = {"image": "registry.example/aerodet:1", **options}
        return list(examine(access, profile.cluster, api=quick, kubernetes=kubernetes, **options))

    return examined


def wrong(checks):
    return {check.name: check.found for check in checks if check.state == "wrong"}


def test_a_sound_cluster_has_nothing_wrong(look, bucket_uri, tmp_path):
    (tmp_path / "registry").mkdir()
    checks = look(root=bucket_uri, registry=str(tmp_path / "registry"))
    assert wrong(checks) == {}
    assert {check.name: check.state for check in checks} == dict.fromkeys(
        [
            "pipeline API",
            "permission",
            "namespace",
            "service account",
            "secret",
            "volume",
            "GPUs",
            "image",
            "object store",
            "registry",
        ],
        "ok",
    )
    assert checks[0].found == "Kubeflow Pipelines 2.17, for one user"
    assert all("\n" not in check.found for check in checks)
    assert SECRET not in repr(checks)


def test_what_was_not_asked_for_is_not_called_sound(look):
    assert {check.name for check in look() if check.state == "unknown"} == {"object store", "registry"}


@pytest.mark.parametrize(
    ("path", "name", "sentence"),
    [
        (NAMESPACE, "namespace", "there is no namespace kubeflow; apply manifests/"),
        (f"{NAMESPACE}/serviceaccounts/pipeline-runner", "service account", "there is no service account"),
        (f"{NAMESPACE}/secrets/aerodet-s3", "secret", "kubectl -n kubeflow create secret generic aerodet-s3"),
        (f"{NAMESPACE}/persistentvolumeclaims/aerodet-data", "volume", "there is no volume claim aerodet-data"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(look, cluster, path, name, sentence):
    del cluster.objects[path]
    found = wrong(look())
    assert set(found) == {name}
    assert sentence in found[name]


def test_a_secret_without_a_key_is_named(look, cluster):
    cluster.objects[f"{NAMESPACE}/secrets/aerodet-s3"].data.pop("endpoint")
    assert wrong(look()) == {"secret": "secret aerodet-s3 has no endpoint; add it"}


def test_a_pull_secret_is_looked_for_too(look):
    assert "there is no secret ghcr" in wrong(look(["cluster.image_pull_secrets=[ghcr]"]))["secret"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ["cluster.stages.train.gpu.count=4", "training.gpus=4"],
            "stage train asks for 4 nvidia.com/gpu, and no node has more than 2",
        ),
        (["cluster.stages.train.gpu.resource=nvidia.com/mig-1g.10gb"], "and no node has more than 0"),
        (["cluster.stages.train.gpu.product=NVIDIA-H100"], "with nvidia.com/gpu.product=NVIDIA-H100, and there is no"),
        (["cluster.stages.train.node_selector={pool: gpu}"], "on nodes with pool=gpu, and there is no such node"),
    ],
)
def test_gpus_that_no_node_can_give_are_named(look, settings, sentence):
    assert sentence in wrong(look(settings))["GPUs"]


def test_a_node_that_is_closed_gives_nothing(look, cluster):
    cluster.objects["/api/v1/nodes"].items[1].spec.unschedulable = True
    assert "no node has more than 0" in wrong(look())["GPUs"]


def test_a_quota_below_what_is_asked_is_named(look, cluster):
    key = "requests.nvidia.com/gpu"
    cluster.objects[f"{NAMESPACE}/resourcequotas"].items = [quota("gpus", {key: "1"}, {key: "0"})]
    assert wrong(look(["cluster.stages.train.gpu.count=2", "training.gpus=2"]))["quota"] == (
        "quota gpus allows 1 nvidia.com/gpu, and stage train asks for 2; raise it"
    )
    assert wrong(look()) == {}


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (claim("aerodet-data", "Lost"), "has lost its volume"),
        (claim("aerodet-data", "Pending", "fast"), "wants storage class fast, which is not there; there is disk"),
        (claim("aerodet-data", "Pending"), "names no storage class, and none is the default"),
    ],
)
def test_a_claim_that_will_not_bind_is_named(look, cluster, found, sentence):
    cluster.put(f"{NAMESPACE}/persistentvolumeclaims/aerodet-data", found)
    assert sentence in wrong(look())["volume"]


def test_a_claim_that_waits_for_its_first_pod_is_sound(look, cluster):
    cluster.put(f"{NAMESPACE}/persistentvolumeclaims/aerodet-data", claim("aerodet-data", "Pending", "disk"))
    assert wrong(look()) == {}


@pytest.mark.parametrize("kind", [429, 500, 503, "drop"])
def test_a_fault_that_passes_is_no_finding(look, cluster, server, kind):
    cluster.fail("secrets", kind)
    cluster.fail("nodes", kind, 3)
    server.fail("v2beta1/healthz", kind)
    assert wrong(look()) == {}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (401, "does not take the credentials (401"),
        (403, "does not allow to list nodes (403"),
        (500, "failed to list nodes (500"),
        ("drop", "does not answer (ProtocolError), asked to list nodes"),
    ],
)
def test_a_fault_that_stays_is_one_finding_and_the_others_are_made(look, cluster, kind, sentence):
    cluster.fail("nodes", kind, 99)
    checks = look()
    assert set(wrong(checks)) == {"GPUs"}
    assert sentence in wrong(checks)["GPUs"]
    assert len(cluster.requests) < 15


def test_a_cluster_that_does_not_answer_leaves_the_other_checks(look, cluster, bucket_uri):
    cluster.close()
    checks = look(root=bucket_uri)
    assert set(wrong(checks)) == {"Kubernetes API"}
    assert {check.name for check in checks if check.state == "ok"} == {
        "pipeline API",
        "permission",
        "image",
        "object store",
    }


def test_without_a_kubeconfig_it_is_said_what_to_set(look, monkeypatch):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nonexistent")
    assert "set KUBECONFIG or name a context" in wrong(look())["Kubernetes API"]


def test_an_old_api_is_named_and_a_silent_one_is_taken(look, server):
    server.tag_name = "2.3.0"
    assert wrong(look()) == {"pipeline API": "Kubeflow Pipelines is 2.3; upgrade it to 2.15 or newer"}
    server.tag_name = None
    assert wrong(look()) == {}
    server.fail("v2beta1/healthz", 404, 9)
    assert "has no API v2beta1" in wrong(look())["pipeline API"]


def test_one_who_may_not_list_runs_hears_it(look, server):
    server.fail("recurringruns", 403, 9)
    assert "does not allow to list the schedules (403" in wrong(look())["pipeline API"]


def test_an_object_store_that_refuses_or_is_missing_is_named(look, bucket_uri, monkeypatch):
    assert "is not an address" in wrong(look(root="gs://bucket"))["object store"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-key")
    found = wrong(look(root=bucket_uri))["object store"]
    assert "refused access" in found
    assert "wrong-key" not in found


def test_the_probe_leaves_nothing_behind(look, bucket_uri):
    from aerodet.storage import open_store

    look(root=bucket_uri)
    assert list(open_store(bucket_uri).keys()) == []


def test_a_registry_that_is_none_is_named(look, tmp_path):
    (tmp_path / "file.db").write_text("something else")
    assert "is not a registry" in wrong(look(registry=str(tmp_path / "file.db")))["registry"]


def test_a_registry_that_is_not_there_yet_is_not_made(look, tmp_path):
    (found,) = [check for check in look(registry=str(tmp_path / "registry")) if check.name == "registry"]
    assert (found.state, "the first publication makes it" in found.found) == ("unknown", True)
    assert not (tmp_path / "registry").exists()


def test_an_image_that_no_node_can_pull_is_told(look):
    (check,) = [check for check in look(image="aerodet:0.1.0") if check.name == "image"]
    assert check.state == "unknown"
    assert "set AERODET_IMAGE" in check.found
