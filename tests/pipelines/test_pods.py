import pytest
import yaml

from aerodet.errors import SpecError
from aerodet.pipelines.check import check_package
from aerodet.pipelines.flows import compile_pipeline
from aerodet.pipelines.profiles import load_profile

OWN = {
    "image_pull_secrets": ["registry"],
    "image_pull_policy": "Always",
    "ttl": 3600,
    "deadline": 7200,
    "stages": {
        "default": {"cpu": 1, "memory": "2Gi", "retry": {"count": 1}, "volumes": [{"claim": "data", "mount": "/data"}]},
        "train": {
            "cpu": "500m",
            "cpu_limit": 4,
            "memory": "32Gi",
            "shm": "16Gi",
            "gpu": {"resource": "nvidia.com/mig-1g.10gb", "count": 2, "product": "NVIDIA-A100"},
            "node_selector": {"pool": "gpu", "zone": 3},
            "tolerations": [{"key": "spot", "value": "true", "effect": "NoSchedule", "seconds": 30}],
            "secrets": [{"name": "s3", "env": {"accesskey": "AWS_ACCESS_KEY_ID"}, "mount": "/secrets/s3"}],
            "retry": {"count": 4, "backoff": 10, "factor": 3, "longest": 600},
            "timeout": 1000,
            "env": {"NCCL_DEBUG": "INFO"},
        },
        "train-qat": {"timeout": 2000, "cache": False},
    },
}


def profile_with(cluster):
    profile = load_profile("minimal", ["training.gpus=2"] if cluster is OWN else [])
    return type(profile).model_validate({**profile.model_dump(), "cluster": cluster})


def compiled(profile, folder):
    path = compile_pipeline(profile, folder / "p.yaml", cluster=True)
    assert check_package(path) == []
    return list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))


def by_task(documents):
    """Return container, Kubernetes settings and task of every task, by the name that a person sees."""
    spec, platform = documents
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = {}
    for task in spec["root"]["dag"]["tasks"].values():
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        found[task["taskInfo"]["name"]] = (container, kubernetes.get(label, {}), task)
    return found


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return compiled(profile_with(OWN), tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def tasks(documents):
    return by_task(documents)


def test_every_setting_of_a_training_is_in_the_package(tasks):
    container, kubernetes, task = tasks["train-real"]
    resources = container["resources"]
    assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == ("500m", "4")
    assert (resources["resourceMemoryRequest"], resources["resourceMemoryLimit"]) == ("32Gi", "32Gi")
    assert resources["accelerator"]["resourceType"] == "nvidia.com/mig-1g.10gb"
    assert resources["accelerator"]["resourceCount"] == "2"
    assert kubernetes["nodeSelector"]["labels"] == {
        "pool": "gpu",
        "zone": "3",
        "nvidia.com/gpu.product": "NVIDIA-A100",
    }
    (toleration,) = kubernetes["tolerations"]
    assert toleration == {
        "key": "spot",
        "operator": "Equal",
        "value": "true",
        "effect": "NoSchedule",
        "tolerationSeconds": "30",
    }
    assert kubernetes["emptyDirMounts"] == [
        {"volumeName": "dshm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "16Gi"}
    ]
    (variable,) = kubernetes["secretAsEnv"]
    assert variable["secretName"] == "s3"
    assert variable["keyToEnv"] == [{"secretKey": "accesskey", "envVar": "AWS_ACCESS_KEY_ID"}]
    assert kubernetes["secretAsVolume"][0]["mountPath"] == "/secrets/s3"
    assert kubernetes["pvcMount"][0]["mountPath"] == "/data"
    assert kubernetes["pvcMount"][0]["constant"] == "data"
    assert kubernetes["activeDeadlineSeconds"] == "1000"
    assert kubernetes["imagePullSecret"][0]["secretName"] == "registry"
    assert kubernetes["imagePullPolicy"] == "Always"
    assert task["retryPolicy"] == {
        "maxRetryCount": 4,
        "backoffDuration": "10s",
        "backoffFactor": 3.0,
        "backoffMaxDuration": "600s",
    }
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in container["env"]


def test_the_nearest_setting_wins_and_the_others_are_kept(tasks):
    container, kubernetes, task = tasks["train-qat"]
    assert kubernetes["activeDeadlineSeconds"] == "2000"
    assert container["resources"]["resourceMemoryLimit"] == "32Gi"
    assert not task.get("cachingOptions", {}).get("enableCache")
    container, kubernetes, task = tasks["prune"]
    assert container["resources"]["resourceCpuLimit"] == "1"
    assert "accelerator" not in container["resources"]
    assert "emptyDirMounts" not in kubernetes
    assert task["retryPolicy"]["maxRetryCount"] == 1


def test_only_stages_that_were_given_a_gpu_ask_for_one(tasks):
    with_gpu = {name for name, (container, *_) in tasks.items() if "accelerator" in container["resources"]}
    assert with_gpu == {name for name in tasks if name.startswith("train-")}


def test_lifetimes_of_the_whole_run_are_in_the_package(documents):
    config = documents[1]["platforms"]["kubernetes"]["pipelineConfig"]
    assert config == {"activeDeadlineSeconds": 7200, "resourceTtlOnCompletion": 3600}


def test_what_reads_from_outside_is_not_taken_from_the_cache(tmp_path):
    profile = load_profile("minimal", ["data.real=/data/real"])
    spec, *_ = compiled(profile, tmp_path)
    tasks = {task["taskInfo"]["name"]: task for task in spec["root"]["dag"]["tasks"].values()}
    cached = {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert set(tasks) - cached == {"ingest-real", "ingest-test"}


def test_a_run_is_called_by_its_own_id_on_a_cluster(tasks):
    for name in ("publish", "report"):
        constant = tasks[name][2]["inputs"]["parameters"]["run_id"]["runtimeValue"]["constant"]
        assert constant == "{{$.pipeline_job_uuid}}"


def test_each_task_knows_its_image(tasks):
    for container, *_ in tasks.values():
        assert {"name": "AERODET_IMAGE", "value": container["image"]} in container["env"]


def test_a_package_for_this_machine_has_no_pod_settings(tmp_path):
    with_settings = compile_pipeline(profile_with(OWN), tmp_path / "a.yaml").read_text()
    plain = load_profile("minimal", ["training.gpus=2"])
    assert with_settings == compile_pipeline(plain, tmp_path / "b.yaml").read_text()


def test_the_profile_for_clusters_gives_training_a_gpu_and_shared_memory(tmp_path):
    container, kubernetes, task = by_task(compiled(load_profile("cluster"), tmp_path))["train-retrain"]
    assert container["resources"]["accelerator"]["resourceCount"] == "1"
    assert kubernetes["emptyDirMounts"][0]["sizeLimit"] == "16Gi"
    assert {v["name"]: None for v in container["env"]}.keys() == {"AERODET_IMAGE"}
    assert task["retryPolicy"]["maxRetryCount"] == 5


def test_settings_of_a_component_that_ones_own_data_make_needless_are_no_mistake(tmp_path):
    own = [f"data.{name}=/data/{name}" for name in ("real", "synthetic", "test")]
    assert "synthesize" in load_profile("cluster").cluster.stages
    assert not any(name.startswith("render-") for name in by_task(compiled(load_profile("cluster", own), tmp_path)))


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("cluster.stages.train.cpu=lots", "cluster.stages.train.cpu: "),
        ("cluster.stages.train.memory=8 GB", "cluster.stages.train.memory: "),
        ("cluster.stages.train.shm=64Gi", "leaves nothing of the `memory` of 48Gi"),
        ("cluster.stages.train.gpu.count=0", "cluster.stages.train.gpu.count: "),
        ("cluster.stages.train.gpu.resource=gpu", "cluster.stages.train.gpu.resource: "),
        ("cluster.stages.train.tolerations=[{operator: Exists, value: x}]", "operator Exists takes no `value`"),
        ("cluster.stages.train.tolerations=[{value: x}]", "operator Equal needs a `key`"),
        ("cluster.stages.train.secrets=[{name: s3}]", "give `env`, `mount` or both"),
        ("cluster.stages.train.secrets=[{name: S3, mount: /x}]", "secrets.0.name: "),
        ("cluster.stages.train.volumes=[{claim: data, mount: data}]", "volumes.0.mount: "),
        ("cluster.stages.train.retries=3", "'cluster.stages.train.retries' is no setting"),
        ("cluster.ttl=0", "cluster.ttl: "),
    ],
)
def test_a_wrong_pod_setting_is_one_sentence(setting, sentence):
    with pytest.raises(SpecError) as caught:
        load_profile("cluster", [setting])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_a_stage_that_does_not_exist_are_refused(tmp_path):
    profile = load_profile("minimal", ["cluster.stages.tarin.cpu=1"])
    with pytest.raises(
        SpecError, match=r"cluster.stages.tarin: there is no such stage; choose from audit, .*train-qat"
    ):
        compile_pipeline(profile, tmp_path / "p.yaml", cluster=True)


def test_settings_that_do_not_fit_together_are_refused_with_the_stage(tmp_path):
    profile = load_profile("minimal", ["cluster.stages.default.memory=8Gi", "cluster.stages.train.shm=16Gi"])
    with pytest.raises(SpecError, match=r"cluster.stages.train-real: .*leaves nothing of the `memory` of 8Gi"):
        compile_pipeline(profile, tmp_path / "p.yaml", cluster=True)


def test_a_training_and_its_pod_agree_on_the_number_of_gpus():
    with pytest.raises(
        SpecError, match=r"training\.gpus is 1, but cluster\.stages\.train\.gpu\.count gives the pods 4"
    ):
        load_profile("cluster", ["cluster.stages.train.gpu.count=4"])
    assert load_profile("cluster", ["cluster.stages.train.gpu.count=4", "training.gpus=4"]).training.gpus == 4
