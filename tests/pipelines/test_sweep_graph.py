import itertools

import pytest
import yaml

from aerodet.errors import SpecError
from aerodet.pipelines.check import check_package
from aerodet.pipelines.flows import compile_pipeline
from aerodet.pipelines.profiles import load_profile, profile_names

FRACTIONS = ["sweep.fractions=[0, 0.5, 10, 100]"]


class Compiled:
    """A sweep by the names that a person sees."""

    def __init__(self, folder, overrides=()):
        self.package = compile_pipeline(load_profile("minimal", overrides), folder / "p.yaml", flow="sweep")
        self.root = yaml.load(self.package.read_text(), Loader=yaml.CSafeLoader)["root"]
        self.tasks = {task["taskInfo"]["name"]: task for task in self.root["dag"]["tasks"].values()}
        self.shown = {key: task["taskInfo"]["name"] for key, task in self.root["dag"]["tasks"].items()}
        assert len(self.tasks) == len(self.shown)

    def producers(self, name):
        artifacts = self.tasks[name]["inputs"].get("artifacts", {})
        return {given: self.shown[s["taskOutputArtifact"]["producerTask"]] for given, s in artifacts.items()}

    def constants(self, name):
        parameters = self.tasks[name]["inputs"].get("parameters", {})
        return {k: v["runtimeValue"]["constant"] for k, v in parameters.items() if "runtimeValue" in v}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return Compiled(tmp_path_factory.mktemp("sweep"), FRACTIONS)


@pytest.mark.parametrize("cluster", [False, True], ids=["here", "cluster"])
@pytest.mark.parametrize("name", [name for name in profile_names() if name != "tao"])
def test_every_profile_compiles_to_a_sound_sweep(name, cluster, tmp_path):
    assert check_package(compile_pipeline(load_profile(name), tmp_path / "p.yaml", cluster=cluster, flow="sweep")) == []


def test_a_sweep_has_a_task_for_each_training(sweep):
    trainings = {name.removeprefix("train-") for name in sweep.tasks if name.startswith("train-")}
    points = {"0.5", "10", "frames-1"}
    assert trainings == {
        "synthetic",
        "real",  # 100 % without pretraining is the real arm
        "finetune-100",
        *(f"{way}-{point}" for way in ("real", "finetune") for point in points),
    }
    assert {name.removeprefix("sample-") for name in sweep.tasks if name.startswith("sample-")} == points
    assert {name.removeprefix("evaluate-") for name in sweep.tasks if name.startswith("evaluate-")} == trainings
    assert set(sweep.root["inputDefinitions"]["parameters"]) == {
        "run_id", "state", "started", "seed", "real", "synthetic", "test",
    }  # fmt: skip


def test_both_ways_train_on_the_same_images(sweep):
    for point, subset in (("10", "sample-10"), ("frames-1", "sample-frames-1")):
        assert sweep.producers(f"train-real-{point}") == {"dataset": subset}
        assert sweep.producers(f"train-finetune-{point}") == {
            "dataset": subset,
            "synthetic": "render-synthetic",
            "init": "train-synthetic",
        }
    assert sweep.producers("train-real") == {"dataset": "render-real"}
    assert sweep.producers("train-finetune-100")["dataset"] == "render-real"


def test_settings_are_those_of_the_main_flows_arms(sweep):
    profile = load_profile("minimal")
    trainings = [name for name in sweep.tasks if name.startswith("train-")]
    names = [sweep.constants(name)["name"] for name in trainings]
    assert sorted(f"train-{name}" for name in names) == sorted(trainings)  # each has a state folder of its own
    for name in trainings:
        given, arm = sweep.constants(name), getattr(profile, name.split("-")[1])
        assert given["steps"] == arm.steps
        assert given.get("synthetic_share", 0) == arm.synthetic_share
        assert ("load_graph: true" in given["spec"]) == ("finetune" in name)


def test_samples_share_the_runs_seed_and_differ_in_size(sweep):
    given = {name: sweep.constants(f"sample-{name}") for name in ("0.5", "10", "frames-1")}
    assert [(g["fraction"], g["frames"]) for g in given.values()] == [(0.005, 0), (0.1, 0), (0, 1)]
    for name in given:
        seed = sweep.tasks[f"sample-{name}"]["inputs"]["parameters"]["seed"]
        assert seed == {"componentInputParameter": "seed"}


def test_the_points_are_a_chain_to_the_report(sweep):
    chain = ["point-0", "point-0.5", "point-10", "point-100", "point-frames-1"]
    for before, after in itertools.pairwise(chain):
        assert sweep.producers(after)["previous"] == before
    assert sweep.producers("point-0") == {"pretrained": "evaluate-synthetic"}
    assert sweep.producers("point-100") == {
        "subset": "render-real",
        "pretrained": "evaluate-finetune-100",
        "scratch": "evaluate-real",
        "previous": "point-10",
    }
    assert sweep.producers("report") == {
        "real": "render-real",
        "synthetic": "render-synthetic",
        "test": "render-test",
        "curve": "point-frames-1",
        "gap": "gap",
    }


def test_no_training_sees_the_test_images_or_another_training(sweep):
    for name in sweep.tasks:
        if name.startswith("train-"):
            assert "render-test" not in sweep.producers(name).values()
            assert {p for p in sweep.producers(name).values() if p.startswith("train-")} <= {"train-synthetic"}


def test_a_sweep_without_frames_or_without_the_ends_is_sound(tmp_path):
    found = Compiled(tmp_path, ["sweep.fractions=[25]", "sweep.frames=[]"])
    assert check_package(found.package) == []
    assert {n for n in found.tasks if n.startswith("train-")} == {
        "train-synthetic",
        "train-real-25",
        "train-finetune-25",
    }
    assert "evaluate-synthetic" not in found.tasks


def test_compiling_twice_gives_the_same_bytes(tmp_path):
    first, second = (Compiled(tmp_path / name, FRACTIONS).package.read_bytes() for name in ("a", "b"))
    assert first == second


def test_tao_is_refused(tmp_path):
    with pytest.raises(SpecError, match="profile tao trains with TAO, a sweep with PyTorch only"):
        compile_pipeline(load_profile("tao"), tmp_path / "p.yaml", flow="sweep")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("sweep.fractions=[0, 200]", "sweep.fractions.1: should be less than or equal to 100, not 200"),
        ("sweep.fractions=[-1]", "sweep.fractions.0: should be greater than or equal to 0, not -1"),
        ("sweep.fractions=[]", "sweep.fractions: List should have at least 1 item"),
        ("sweep.fractions=[10, 5, 10]", "`fractions` has 10 twice; give each once"),
        ("sweep.frames=[2, 2]", "`frames` has 2 twice; give each once"),
        ("sweep.frames=[0]", "sweep.frames.0: should be greater than or equal to 1, not 0"),
    ],
)
def test_a_wrong_point_is_one_sentence(override, sentence):
    with pytest.raises(SpecError) as caught:
        load_profile("minimal", [override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_real_image_there_is_no_sweep():
    with pytest.raises(SpecError, match="without a fraction above 0 there is no real image in the sweep"):
        load_profile("minimal", ["sweep.fractions=[0]", "sweep.frames=[]"])
