"""The manifests, as kustomize builds them: valid for two versions of Kubernetes, and within a policy."""

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from aerodet.pipelines.profiles import load_profile

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
OVERLAYS = sorted(folder.name for folder in (MANIFESTS / "overlays").iterdir())
VERSIONS = ("1.33", "1.36")  # those that Kubeflow Pipelines 2.17 is tested with
OWN_KINDS = {"Profile"}  # Kubeflow's; Kubernetes has no schema of them


def build(folder):
    """Return the objects of a kustomization."""
    command = [str(Path(sys.executable).with_name("kubectl")), "kustomize", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""  # deprecated fields are warned of
    return list(yaml.safe_load_all(made.stdout))


@pytest.fixture(scope="module")
def built():
    return {name: build(MANIFESTS / "overlays" / name) for name in OVERLAYS}


def pod_specs(objects):
    """Yield kind, name and pod spec of everything that makes pods."""
    for found in objects:
        spec = found.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            yield f"{found['kind']} {found['metadata']['name']}", template["spec"]


def named(objects, kind, name):
    return next(o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name))


def test_every_overlay_that_is_promised_is_there():
    assert OVERLAYS == ["dev", "gpu", "minio", "multi-user", "seaweedfs", "single-user"]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schema(built, overlay, version):
    checked = 0
    for found in built[overlay]:
        if found["kind"] not in OWN_KINDS:
            kubernetes_validate.validate(found, version, strict=True)
            checked += 1
    assert checked >= 14


def test_the_schema_refuses_a_field_that_does_not_exist(built):
    wrong = json.loads(json.dumps(named(built["dev"], "Deployment", "aerodet-registry")))
    wrong["spec"]["template"]["spec"]["containers"][0]["privileged"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="privileged"):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_are_in_one_namespace_and_none_is_there_twice(built, overlay):
    namespace = "aerodet" if overlay == "multi-user" else "kubeflow"
    keys = [(o["kind"], o["metadata"]["name"]) for o in built[overlay]]
    assert len(keys) == len(set(keys))
    for found in built[overlay]:
        if found["kind"] not in OWN_KINDS:
            assert found["metadata"]["namespace"] == namespace, found["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_as_the_restricted_standard_wants_them(built, overlay):
    specs = dict(pod_specs(built[overlay]))
    assert specs
    for name, spec in specs.items():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert spec["automountServiceAccountToken"] is False, name
        pod = spec["securityContext"]
        assert (pod["runAsNonRoot"], pod["runAsUser"] > 0) == (True, True), name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            context = container["securityContext"]
            assert not context.get("privileged"), name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][kind].keys(), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_have_a_version(built, overlay):
    for name, spec in pod_specs(built[overlay]):
        for container in spec["containers"]:
            assert re.search(r":(?!latest$)[\w.-]+$|@sha256:[0-9a-f]{64}$", container["image"]), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_refers_to_something_finds_it(built, overlay):
    objects = built[overlay]
    claims = {o["metadata"]["name"] for o in objects if o["kind"] == "PersistentVolumeClaim"}
    accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
    secrets = {o["metadata"]["name"] for o in secret_objects()}
    for _, spec in pod_specs(objects):
        assert {spec["serviceAccountName"]} <= accounts if "serviceAccountName" in spec else True
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        used = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        assert used <= claims
        for container in spec["containers"]:
            refs = [e["valueFrom"]["secretKeyRef"]["name"] for e in container.get("env", ()) if "valueFrom" in e
                    and "secretKeyRef" in e["valueFrom"]]  # fmt: skip
            assert set(refs) <= secrets
    for found in objects:
        if found["kind"] == "RoleBinding":
            assert named(objects, "Role", found["roleRef"]["name"])
            assert {subject["name"] for subject in found["subjects"]} <= accounts


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_roles_are_narrow(built, overlay):
    objects = built[overlay]
    assert not [o for o in objects if o["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    for role in (o for o in objects if o["kind"] == "Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "secrets" in rule["resources"]:
                assert rule["resourceNames"]
                assert rule["verbs"] == ["get"]


def secret_objects(folder=None):
    """Return the secrets that the templates make, with the content of the examples."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "secrets"
        shutil.copytree(MANIFESTS / "secrets", place)
        for example in place.glob("*.example"):
            example.rename(example.with_suffix(""))
        return build(place)


def test_secrets_are_made_from_files_that_git_does_not_take():
    made = {secret["metadata"]["name"]: secret for secret in secret_objects()}
    assert made.keys() == {"aerodet-s3", "aerodet-ngc"}
    assert made["aerodet-s3"]["data"].keys() == {"accesskey", "secretkey", "endpoint"}
    assert made["aerodet-ngc"]["type"] == "kubernetes.io/dockerconfigjson"
    for secret in made.values():
        kubernetes_validate.validate(secret, VERSIONS[0], strict=True)
    listed = subprocess.run(["git", "ls-files", "manifests"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not [name for name in listed.stdout.split() if name.endswith((".env", "ngc.json"))]
    assert (MANIFESTS / "secrets" / ".gitignore").read_text().split() == ["s3.env", "ngc.json"]


def test_no_object_of_any_overlay_is_a_secret(built):
    assert not [o for objects in built.values() for o in objects if o["kind"] == "Secret"]


def test_what_the_profile_for_clusters_names_is_what_the_manifests_make(built):
    cluster = load_profile("cluster").cluster
    claims = {o["metadata"]["name"] for o in built["single-user"] if o["kind"] == "PersistentVolumeClaim"}
    assert {volume.claim for volume in cluster.every("volumes")} <= claims
    secrets = {secret["metadata"]["name"]: secret["data"].keys() for secret in secret_objects()}
    for secret in cluster.every("secrets"):
        assert secret.env.keys() <= secrets[secret.name]


@pytest.mark.parametrize("overlay", ["minio", "seaweedfs", "dev"])
def test_an_object_store_is_where_the_launcher_looks_for_it(built, overlay):
    launcher = named(built[overlay], "ConfigMap", "kfp-launcher")["data"]
    endpoint = yaml.safe_load(launcher["providers"])["s3"]["default"]["endpoint"]
    service = named(built[overlay], "Service", "aerodet-store")
    assert endpoint == f"http://aerodet-store:{service['spec']['ports'][0]['port']}"
    assert launcher["defaultPipelineRoot"].startswith("s3://aerodet/")


def test_the_gpu_check_is_placed_and_fed_as_trainings_are(built):
    spec = dict(pod_specs(built["gpu"]))["Job aerodet-gpu-check"]
    train = load_profile("cluster").cluster.pods("train")
    (shared,) = [volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == "dshm"]
    assert shared == {"medium": "Memory", "sizeLimit": train.shm}
    assert [t["key"] for t in spec["tolerations"]] == [t.key for t in train.tolerations]
    assert spec["nodeSelector"]


def test_a_container_that_asks_for_nothing_gets_no_gpu(built):
    (limit,) = named(built["multi-user"], "LimitRange", "aerodet-limits")["spec"]["limits"]
    assert limit["default"]["nvidia.com/gpu"] == limit["defaultRequest"]["nvidia.com/gpu"] == "0"


def test_the_triggers_command_is_one_that_aerodet_has(built):
    import typer

    from aerodet.pipelines.cli import app

    (container,) = dict(pod_specs(built["single-user"]))["CronJob aerodet-trigger"]["containers"]
    command = typer.main.get_command(app).commands[container["command"][1]]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument.split("=")[0] for argument in container["args"]} <= known


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_registry_answers_under_the_names_that_it_is_called_by(built, overlay):
    deployment = named(built[overlay], "Deployment", "aerodet-registry")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (hosts,) = (part.partition("=")[2].split(",") for part in container["args"] if part.startswith("--allowed-hosts="))
    service = f"aerodet-registry.{deployment['metadata']['namespace']}.svc.cluster.local"
    for host in ("aerodet-registry", "aerodet-registry:5000", f"{service}:5000", "localhost:5000"):
        assert any(fnmatch(host, allowed) for allowed in hosts)  # as MLflow holds them against each other
    assert not any(fnmatch("elsewhere.example:5000", allowed) for allowed in hosts)
