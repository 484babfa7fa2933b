"""The compiled compression search: what is made from what, and which sizes are refused."""

from pathlib import Path

import pytest
import yaml

from aerodet.detectnet.model import Architecture
from aerodet.detectnet.shrink import narrow_architecture, product_count
from aerodet.detectnet.spec import parse_spec
from aerodet.errors import SpecError
from aerodet.pipelines.check import check_package
from aerodet.pipelines.flows import compile_pipeline
from aerodet.pipelines.flows.compress import sizes_of
from aerodet.pipelines.profiles import load_profile, profile_names

CHOICES = ["compress.sizes=[1.5,3]", "compress.importances=[l2,taylor]", "compress.target=sm_80"]
ALL = [*CHOICES, "compress.controls=[narrow,narrow-distilled,one-shot]"]


class Graph:
    """The tasks of a compiled search, by the names that a person sees."""

    def __init__(self, folder, *settings, profile="minimal", cluster=False):
        package = compile_pipeline(
            load_profile(profile, list(settings)), folder / "p.yaml", flow="compress", cluster=cluster
        )
        self.faults = check_package(package)
        documents = yaml.load_all(package.read_text(), Loader=yaml.CSafeLoader)
        self.root = next(documents)["root"]
        tasks = self.root["dag"]["tasks"]
        self.tasks = {task["taskInfo"]["name"]: task for task in tasks.values()}
        assert len(self.tasks) == len(tasks)
        self.called = {key: task["taskInfo"]["name"] for key, task in tasks.items()}

    def sources(self, name):
        artifacts = self.tasks[name]["inputs"].get("artifacts", {})
        return {given: self.called[s["taskOutputArtifact"]["producerTask"]] for given, s in artifacts.items()}

    def constants(self, name):
        parameters = self.tasks[name]["inputs"]["parameters"]
        return {n: s["runtimeValue"]["constant"] for n, s in parameters.items() if "runtimeValue" in s}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return Graph(tmp_path_factory.mktemp("graph"), *ALL)


@pytest.mark.parametrize("name", sorted(set(profile_names()) - {"tao"}))
def test_the_default_search_of_a_profile_is_a_sound_package(name, tmp_path):
    assert Graph(tmp_path, profile=name, cluster=name in ("cluster", "gpu")).faults == []


def test_the_next_point_of_a_branch_starts_from_the_retrained_one_before(graph):
    assert graph.faults == []
    for branch in ("l2", "taylor"):
        assert graph.sources(f"prune-{branch}-1.5")["model"] == "train-finetune"
        assert graph.sources(f"train-{branch}-1.5")["init"] == f"prune-{branch}-1.5"
        assert graph.sources(f"prune-{branch}-3")["model"] == f"train-{branch}-1.5"
        assert graph.constants(f"prune-{branch}-3")["importance"] == branch
    assert graph.sources("prune-taylor-3")["dataset"] == "sample"
    assert "dataset" not in graph.sources("prune-l2-3")


def test_the_teacher_teaches_all_but_the_plain_narrow_networks(graph):
    taught = {name for name in graph.tasks if graph.sources(name).get("teacher") == "train-finetune"}
    trainings = {name for name in graph.tasks if name.startswith("train-")}
    plain = {name for name in trainings if name.startswith("train-narrow-") and "distilled" not in name}
    assert len(plain) == 6
    assert taught == trainings - plain - {"train-synthetic", "train-finetune"}


def test_pruning_in_one_go_has_the_steps_that_the_branch_had_by_then(graph):
    assert "prune-one-shot-1.5" not in graph.tasks  # it would be the branch's first point again
    assert graph.sources("prune-one-shot-3")["model"] == "train-finetune"
    assert graph.constants("train-one-shot-3")["steps"] == 2 * graph.constants("train-l2-3")["steps"] == 8


def test_narrow_networks_start_from_nothing_and_have_as_many_steps_as_the_branch(graph):
    for way in ("narrow", "narrow-distilled"):
        assert "init" not in graph.sources(f"train-{way}-3-synthetic")
        assert graph.sources(f"train-{way}-3")["init"] == f"train-{way}-3-synthetic"
        branch = ("train-synthetic", "train-finetune", "train-l2-1.5", "train-l2-3")
        narrow = (f"train-{way}-3-synthetic", f"train-{way}-3")
        steps = [sum(graph.constants(name)["steps"] for name in names) for names in (branch, narrow)]
        assert steps[0] == steps[1]


@pytest.mark.parametrize(("finetune", "retrain"), [(5.0e-4, 2.0e-3), (2.0e-3, 5.0e-4)])
def test_narrow_networks_have_the_higher_of_the_rates_of_a_branch(finetune, retrain, tmp_path):
    rates = [f"finetune.max_learning_rate={finetune}", f"retrain.max_learning_rate={retrain}"]
    graph = Graph(tmp_path, *CHOICES, *rates)
    spec = parse_spec(graph.constants("train-narrow-3")["spec"])
    assert spec.training_config.learning_rate.soft_start_annealing_schedule.max_learning_rate == pytest.approx(2.0e-3)


def test_each_point_is_exported_measured_and_put_with_those_before(graph):
    points = [name.removeprefix("candidate-") for name in graph.tasks if name.startswith("candidate-")]
    assert sorted(points) == sorted(
        [f"{way}-{size}" for way in ("l2", "taylor", "narrow", "narrow-distilled") for size in ("1.5", "3")]
        + ["one-shot-3"]
    )
    line, name = [], graph.sources("report")["candidates"]
    while name:
        line.append(name.removeprefix("candidate-"))
        sources = graph.sources(name)
        point = line[-1]
        assert sources["bundle"] == f"export-{point}"
        assert sources["benchmark"] == f"benchmark-{point}"
        assert (sources["evaluation"], sources["evaluation_float"]) == (f"evaluate-{point}", f"evaluate-{point}-float")
        assert graph.sources(f"benchmark-{point}") == {
            "float_bundle": "export-teacher",
            "int8_bundle": f"export-{point}",
        }
        assert graph.sources(f"export-{point}")["model"] == f"train-{point}-qat"
        assert graph.sources(f"train-{point}-qat")["init"] == graph.sources(f"evaluate-{point}-float")["model"]
        name = sources.get("before")
    assert sorted(line) == sorted(points)


def test_no_training_sees_the_test_images(graph):
    readers = {name for name in graph.tasks if "render-test" in graph.sources(name).values()}
    assert {name.partition("-")[0] for name in readers} == {"evaluate", "report"}


@pytest.mark.parametrize(
    ("target", "granularity", "tested"),
    [("cpu", 16, "model.int8.cpu.onnx"), ("sm_80", 32, "model.int8.onnx"), ("sm_90", 32, "model.int8.onnx")],
)
def test_the_target_decides_granularity_and_graph(target, granularity, tested, tmp_path):
    graph = Graph(tmp_path, "compress.sizes=[2]", f"compress.target={target}")
    assert graph.constants("prune-l2-2")["granularity"] == granularity
    assert graph.constants("evaluate-l2-2")["graph"] == tested
    assert graph.constants("candidate-l2-2")["target"] == target


def test_the_limit_of_products_is_what_the_narrow_network_makes(tmp_path):
    wanted = ("model.arch=resnet18", "model.width=1.0", "compress.sizes=[25]", "compress.controls=[narrow]")
    limited = Graph(tmp_path, *wanted, "compress.limit_products=true").constants("prune-l2-25")
    width = narrow_architecture(Architecture(), limited["params"]).width
    assert limited["products"] == product_count(Architecture(width=width)) == pytest.approx(847.8e6 / 512**2, rel=1e-3)
    assert Graph(tmp_path, *wanted).constants("prune-l2-25")["products"] == 0


def test_a_checkpoint_of_ones_own_takes_the_place_of_the_trained_teacher(tmp_path):
    settings = ("compress.model=/models/own", "compress.parameters=11197893", "compress.sizes=[25]")
    graph = Graph(tmp_path, *settings, "model.width=1.0", cluster=True)
    assert graph.faults == []
    assert not {"train-synthetic", "train-finetune"} & set(graph.tasks)
    assert graph.sources("prune-l2-25")["model"] == "import-teacher"
    assert graph.root["inputDefinitions"]["parameters"]["model"]["defaultValue"] == "/models/own"
    assert graph.constants("prune-l2-25")["params"] == 447_916


def test_sizes_are_shares_factors_or_numbers_of_parameters():
    profile = load_profile("gpu", ["compress.sizes=[444000, 4, 0.01]"])
    assert [(size.label, size.wanted) for size in sizes_of(profile)] == [
        ("4", 2_799_473),
        ("444000", 444_000),
        ("0.01", 111_979),
    ]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["compress.sizes=[400]"], "but no resnet18 has fewer than 42,005, which is 16 channels in every layer"),
        (["compress.sizes=[800000]"], "800000 leaves 800,000 of 706,677 parameters, which is no smaller"),
        (["compress.sizes=[4, 0.25]"], "4 and 0.25 are the same size"),
        (["backend=tao"], "trains with the torch backend"),
        (
            ["compress.limit_products=true", "prune.min_filters=32", "compress.sizes=[4]"],
            "32 channels in every layer make more products than the narrow network of 176,669 parameters",
        ),
    ],
)
def test_a_search_that_cannot_be_made_is_refused_before_it_starts(settings, sentence, tmp_path):
    with pytest.raises(SpecError, match=sentence):
        Graph(tmp_path, *settings, profile="quickstart")
    assert not Path(tmp_path / "p.yaml").exists()


def test_without_the_limit_wide_layers_are_no_mistake():
    (size,) = sizes_of(load_profile("quickstart", ["prune.min_filters=32", "compress.sizes=[4]"]))
    assert size.wanted == 176_669


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("compress.sizes=[]", "compress.sizes: "),
        ("compress.sizes=[4,4]", "sizes names one of them twice"),
        ("compress.sizes=1", "a size of 1 says nothing"),
        ("compress.sizes=[-4]", "compress.sizes.0: should be greater than 0"),
        ("compress.sizes=small", "compress.sizes.0: should be a valid number"),
        ("compress.target=sm_75", "compress.target: should be 'cpu', 'sm_80' or 'sm_90', not 'sm_75'"),
        ("compress.importances=[l1]", "compress.importances.0: should be 'l2', 'bn' or 'taylor', not 'l1'"),
        ("compress.budget=-1", "compress.budget: should be greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_is_one_sentence(setting, sentence):
    with pytest.raises(SpecError) as caught:
        load_profile("minimal", [setting])
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "retrain", "qat"),
    [
        ([], 0.15, 0.15),
        (["retrain.distillation=0.4"], 0.4, 0.15),
        (["retrain.distillation=0.4", "compress.distillation=0.3"], 0.3, 0.3),
    ],
)
def test_the_teachers_weight_is_the_searchs_then_the_arms_then_the_default(settings, retrain, qat, tmp_path):
    graph = Graph(tmp_path, *CHOICES, *settings)
    assert graph.constants("train-l2-1.5")["distillation"] == retrain
    assert graph.constants("train-l2-1.5-qat")["distillation"] == qat
