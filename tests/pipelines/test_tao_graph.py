import sys

import pytest
import yaml

from aerodet import components
from aerodet.detectnet.spec import Inference, parse_message, parse_spec
from aerodet.errors import SpecError
from aerodet.pipelines import cli
from aerodet.pipelines.check import check_package
from aerodet.pipelines.flows import compile_pipeline
from aerodet.pipelines.profiles import load_profile
from aerodet.tao import DEPLOY_IMAGE, TRAIN_IMAGE, check_flow

SECRETS = ["tao.pull_secret=ngc-registry", "tao.key_secret=ngc-key", "tao.gpus=4"]


class Compiled:
    """A compiled pipeline by the names that a person sees."""

    def __init__(self, folder, name, overrides=()):
        self.package = compile_pipeline(load_profile(name, overrides), folder / f"{name}.yaml")
        documents = list(yaml.load_all(self.package.read_text(), Loader=yaml.CSafeLoader))
        self.spec = documents[0]
        self.tasks = {t["taskInfo"]["name"]: t for t in self.spec["root"]["dag"]["tasks"].values()}
        self.shown = {key: t["taskInfo"]["name"] for key, t in self.spec["root"]["dag"]["tasks"].items()}
        self.platform = documents[1]["platforms"]["kubernetes"] if len(documents) > 1 else {}

    def producers(self, name):
        artifacts = self.tasks[name]["inputs"].get("artifacts", {})
        return {k: self.shown[v["taskOutputArtifact"]["producerTask"]] for k, v in artifacts.items()}

    def constants(self, name):
        parameters = self.tasks[name]["inputs"].get("parameters", {})
        return {k: v["runtimeValue"]["constant"] for k, v in parameters.items() if "runtimeValue" in v}

    def executor(self, name):
        label = self.spec["components"][self.tasks[name]["componentRef"]["name"]]["executorLabel"]
        container = self.spec["deploymentSpec"]["executors"][label]["container"]
        return container, self.platform.get("deploymentSpec", {}).get("executors", {}).get(label, {})

    def component(self, name):
        label = self.tasks[name]["componentRef"]["name"].removeprefix("comp-")
        base, _, number = label.rpartition("-")
        return (base if number.isdigit() else label).replace("-", "_")


@pytest.fixture(scope="module")
def tao(tmp_path_factory):
    return Compiled(tmp_path_factory.mktemp("tao"), "tao", SECRETS)


@pytest.fixture(scope="module")
def torch(tmp_path_factory):
    return Compiled(tmp_path_factory.mktemp("torch"), "tao", ["backend=torch"])


def test_the_compiled_pipeline_is_sound(tao):
    assert check_package(tao.package) == []


def test_one_switch_gives_the_same_pipeline_report_and_registry_entry(tao, torch):
    for compiled in (tao, torch):
        compiled.root = compiled.spec["root"]["inputDefinitions"]
    assert tao.root == torch.root
    shared = {name for name in torch.tasks if name.startswith(("render-", "evaluate-", "export-"))}
    assert shared | {"audit", "sample", "benchmark", "publish", "report"} <= set(tao.tasks)
    assert set(tao.producers("report")) == set(torch.producers("report"))
    assert tao.producers("publish") == torch.producers("publish")
    kinds = [
        {k: v["artifactType"] for k, v in c.spec["components"][c.tasks["report"]["componentRef"]["name"]][
            "inputDefinitions"]["artifacts"].items()}
        for c in (tao, torch)
    ]  # fmt: skip
    assert kinds[0] == kinds[1]


def test_every_component_of_the_backend_is_used(tao):
    used = {tao.component(name) for name in tao.tasks}
    assert {name for name in components.__all__ if name.startswith("tao_")} <= used
    assert "train" not in used


def test_arms_are_trained_on_the_containers_and_collected(tao):
    assert tao.producers("train-real") == {"dataset": "render-real", "records": "records-real"}
    finetune = {"dataset": "sample", "records": "records-finetune", "init": "train-synthetic"}
    assert tao.producers("train-finetune") == finetune
    assert tao.producers("plan-prune") == {"model": "collect-finetune"}
    assert tao.producers("prune") == {"model": "train-finetune", "plan": "plan-prune"}
    assert tao.producers("train-retrain")["init"] == "prune"
    assert tao.producers("train-qat")["init"] == "train-retrain"
    origin = {"trained": "train-qat", "records": "records-qat", "parent": "collect-retrained"}
    assert tao.producers("collect-qat") == origin
    assert tao.producers("collect-real") == {"trained": "train-real", "records": "records-real"}
    assert tao.producers("collect-pruned") == {"trained": "prune", "parent": "collect-finetune"}
    for name in ("real", "synthetic", "finetune", "pruned", "retrained", "qat"):
        made = {"pruned": "prune", "retrained": "train-retrain"}.get(name, f"train-{name}")
        assert tao.producers(f"collect-{name}")["trained"] == made
        assert tao.producers(f"evaluate-{name}") == {"model": f"collect-{name}", "dataset": "render-test"}


def test_the_engine_is_exported_built_evaluated_and_bundled(tao):
    assert tao.producers("tao-export") == {"model": "train-qat"}
    assert tao.producers("tao-engine") == {"model": "tao-export"}
    assert tao.producers("export-int8") == {"model": "collect-qat", "tao": "tao-engine"}
    assert tao.producers("export-float") == {"model": "collect-finetune"}
    assert tao.producers("tao-inference") == {"model": "tao-engine", "dataset": "render-test"}
    scored = {"detections": "tao-inference", "dataset": "render-test", "bundle": "export-int8"}
    assert tao.producers("evaluate-int8") == scored
    assert tao.producers("tao-figures-engine") == {"results": "tao-evaluate-engine"}


def test_specs_are_those_that_tao_takes(tao):
    for name in ("real", "synthetic", "finetune", "retrain", "qat", "test"):
        spec = parse_spec(tao.constants(f"records-{name}")["spec"])
        assert check_flow({name: spec}) == []
        assert spec.training_config.enable_qat == (name in ("qat", "test"))
        assert spec.model_config.load_graph == (name in ("finetune", "retrain", "qat"))
    inference = parse_message(tao.constants("tao-inference")["spec"], Inference)
    assert check_flow({"inference": inference}) == []


def test_images_gpus_and_secrets_of_the_pods(tao):
    on_gpu = {n for n in tao.tasks if n.startswith(("train-", "tao-")) and not n.startswith("tao-figures")} | {"prune"}
    assert len(on_gpu) == 11
    for name in tao.tasks:
        container, settings = tao.executor(name)
        if name not in on_gpu:
            assert "accelerator" not in container.get("resources", {})
            assert not settings
            continue
        deploy = name in ("tao-engine", "tao-evaluate-engine", "tao-inference")
        assert container["image"] == (DEPLOY_IMAGE if deploy else TRAIN_IMAGE)
        accelerator = container["resources"]["accelerator"]
        assert accelerator["resourceCount"] == ("4" if name.startswith("train-") else "1")
        assert settings["imagePullSecret"] == [{"secretName": "ngc-registry"}] or "ngc-registry" in str(settings)
        assert settings["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
        assert "ngc-key" in str(settings["secretAsEnv"])
        if name.startswith("train-"):
            assert tao.constants(name)["gpus"] == 4
            state = tao.tasks[name]["inputs"]["parameters"]["state"]
            assert state == {"componentInputParameter": "state"}


def test_no_secret_is_a_parameter(tao):
    parameters = {p for t in tao.tasks.values() for p in t["inputs"].get("parameters", {})}
    parameters |= set(tao.spec["root"]["inputDefinitions"]["parameters"])
    assert not [p for p in parameters if any(word in p for word in ("key", "secret", "token", "password"))]


def test_an_arm_that_mixes_gets_both_sets(tmp_path):
    compiled = Compiled(tmp_path, "tao", ["finetune.synthetic_share=0.3"])
    assert compiled.producers("records-finetune") == {"dataset": "sample", "synthetic": "render-synthetic"}
    assert compiled.producers("train-finetune")["synthetic"] == "render-synthetic"
    assert compiled.constants("records-finetune")["synthetic_share"] == 0.3
    assert check_package(compiled.package) == []


def test_a_profile_that_tao_cannot_train_is_refused_when_it_is_compiled(tmp_path):
    with pytest.raises(SpecError, match=r"profile minimal: model_config\.width is 0\.25"):
        compile_pipeline(load_profile("minimal", ["backend=tao"]), tmp_path / "p.yaml")


def test_the_local_runner_says_that_it_needs_a_cluster(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["aerodet", "run", "--profile", "tao"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "which run on a cluster only" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "words"),
    [("prune.importance=taylor", "L2 norm, not by 'taylor'"), ("retrain.distillation=1", r"retrain\.distillation")],
)
def test_what_only_the_embedded_trainer_can_do_is_refused(setting, words, tmp_path):
    with pytest.raises(SpecError, match=words):
        compile_pipeline(load_profile("tao", [setting]), tmp_path / "p.yaml")
