import itertools
from pathlib import Path

import pytest
import yaml

from aerodet import components
from aerodet.errors import SpecError
from aerodet.pipelines.check import check_package
from aerodet.pipelines.flows import FLOWS, compile_pipeline
from aerodet.pipelines.profiles import load_profile, profile_names

CHAIN = ["train-synthetic", "train-finetune", "prune", "train-retrain", "train-qat", "export-int8"]
SOURCES = [
    {},
    {"real": "r"},
    {"real": "r", "test": "t"},
    {"synthetic": "s"},
    {"test": "t"},
    {"real": "r", "synthetic": "s", "test": "t"},
]


def with_sources(profile, **sources):
    folders = {
        name: Path("/data") / sources[name] if name in sources else None for name in ("real", "synthetic", "test")
    }
    return profile.with_sources(**folders, seed=None)


def graph_of(profile, folder):
    """Compile and return the root, and the tasks by the names that a person sees."""
    spec = yaml.load(compile_pipeline(profile, folder / "p.yaml").read_text(), Loader=yaml.CSafeLoader)
    root = spec["root"]
    return root, {task["taskInfo"]["name"]: (key, task) for key, task in root["dag"]["tasks"].items()}


def producers(tasks, name):
    """Return the names of the tasks that a task's artifacts come from, by its inputs."""
    called = {key: shown for shown, (key, _) in tasks.items()}
    artifacts = tasks[name][1]["inputs"].get("artifacts", {})
    return {given: called[source["taskOutputArtifact"]["producerTask"]] for given, source in artifacts.items()}


def constants(tasks, name):
    parameters = tasks[name][1]["inputs"]["parameters"]
    return {
        given: source["runtimeValue"]["constant"] for given, source in parameters.items() if "runtimeValue" in source
    }


def of_the_run(tasks, name):
    """Return the pipeline's parameter that each parameter of a task comes from."""
    parameters = tasks[name][1]["inputs"]["parameters"]
    return {
        given: source["componentInputParameter"]
        for given, source in parameters.items()
        if "componentInputParameter" in source
    }


@pytest.fixture(scope="module")
def minimal(tmp_path_factory):
    return graph_of(load_profile("minimal"), tmp_path_factory.mktemp("minimal"))


@pytest.mark.parametrize("sources", SOURCES, ids=lambda sources: "-".join(sources) or "embedded")
@pytest.mark.parametrize("name", profile_names())
def test_every_profile_compiles_to_a_sound_package(name, sources, tmp_path):
    profile = with_sources(load_profile(name), **sources)
    assert check_package(compile_pipeline(profile, tmp_path / "new" / "pipeline.yaml")) == []


def test_compiling_twice_gives_the_same_bytes(tmp_path):
    profile = load_profile("minimal")
    first, second = (compile_pipeline(profile, tmp_path / name).read_bytes() for name in ("a.yaml", "b.yaml"))
    assert first == second


def test_parameters_of_the_pipeline(minimal):
    root, _ = minimal
    parameters = root["inputDefinitions"]["parameters"]
    assert {name for name, p in parameters.items() if not p.get("isOptional")} == {"run_id", "registry"}
    defaults = {name: p["defaultValue"] for name, p in parameters.items() if p.get("isOptional")}
    assert defaults == {
        "fraction": 0.5,
        "real": "",
        "seed": 0,
        "started": 0,
        "state": "",
        "synthetic": "",
        "test": "",
    }


def test_names_of_tasks_are_unique(tmp_path):
    for number, sources in enumerate(SOURCES):
        root, tasks = graph_of(with_sources(load_profile("minimal"), **sources), tmp_path / str(number))
        assert len(tasks) == len(root["dag"]["tasks"]) == 27
        assert all(name == name.lower() and " " not in name for name in tasks)


def test_every_component_is_used(tmp_path):
    profile = with_sources(load_profile("minimal", ["embedded.parts=2"]), real="r")
    used = set()
    for flow in FLOWS:
        package = compile_pipeline(profile, tmp_path / f"{flow}.yaml", flow=flow)
        spec = yaml.load(package.read_text(), Loader=yaml.CSafeLoader)
        dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
        keys = [key for dag in dags for key, task in dag["tasks"].items() if "iterator" not in str(task.keys()).lower()]
        used |= {(key.rpartition("-")[0] if key[-1].isdigit() else key).replace("-", "_") for key in keys}
    assert used == {name for name in components.__all__ if not name.startswith("tao_")}


def test_the_synthetic_scenes_are_rendered_side_by_side_when_asked(tmp_path):
    profile = load_profile("minimal", ["embedded.parts=3", "embedded.synthetic=24"])
    package = compile_pipeline(profile, tmp_path / "p.yaml")
    assert check_package(package) == []
    root, tasks = graph_of(profile, tmp_path)
    loop = next(task for task in root["dag"]["tasks"].values() if "parameterIterator" in task)
    assert loop["parameterIterator"]["items"]["raw"] == "[0, 8, 16]"
    assert producers(tasks, "train-synthetic") == {"dataset": "gather-synthetic"}


def test_the_arms_after_the_finetune_may_learn_from_it(tmp_path):
    _, tasks = graph_of(load_profile("minimal", ["retrain.distillation=0.5"]), tmp_path)
    assert producers(tasks, "train-retrain")["teacher"] == "train-finetune"
    assert "teacher" not in producers(tasks, "train-qat")


def test_three_arms_train_on_their_own_images(minimal):
    _, tasks = minimal
    assert producers(tasks, "train-real") == {"dataset": "render-real"}
    assert producers(tasks, "train-synthetic") == {"dataset": "render-synthetic"}
    finetune = producers(tasks, "train-finetune")
    assert finetune == {"dataset": "sample", "synthetic": "render-synthetic", "init": "train-synthetic"}
    assert producers(tasks, "sample") == {"dataset": "render-real"}


def test_the_chain_goes_down_in_order(minimal):
    _, tasks = minimal
    for above, below in itertools.pairwise(CHAIN):
        assert above in producers(tasks, below).values()
    assert producers(tasks, "export-float") == {"model": "train-finetune"}
    assert producers(tasks, "benchmark") == {"float_bundle": "export-float", "int8_bundle": "export-int8"}
    assert producers(tasks, "publish") == {
        "bundle": "export-int8",
        "evaluation": "evaluate-int8",
        "benchmark": "benchmark",
        "gate": "gate",
    }
    judged = producers(tasks, "gate")
    assert (judged["evaluation"], judged["parent"]) == ("evaluate-int8", "evaluate-retrained")
    assert producers(tasks, "gap") == {"real": "render-real", "synthetic": "render-synthetic"}
    assert {judged[name] for name in ("real", "synthetic", "audit")} == {"render-real", "render-synthetic", "audit"}


def test_everything_is_evaluated_on_the_test_images_alone(minimal):
    _, tasks = minimal
    evaluations = {name: producers(tasks, name) for name in tasks if name.startswith("evaluate-")}
    assert all(inputs["dataset"] == "render-test" for inputs in evaluations.values())
    models = {name.removeprefix("evaluate-"): inputs["model"] for name, inputs in evaluations.items()}
    assert models == {
        "real": "train-real",
        "synthetic": "train-synthetic",
        "finetune": "train-finetune",
        "pruned": "prune",
        "retrained": "train-retrain",
        "qat": "train-qat",
        "int8": "export-int8",
        "int8-cpu": "export-int8",
    }
    readers = {name for name in tasks if "render-test" in producers(tasks, name).values()}
    assert readers == {*evaluations, "audit", "gate", "review", "report"}  # no training sees them
    assert constants(tasks, "evaluate-int8")["graph"] == "model.int8.onnx"
    assert constants(tasks, "evaluate-qat")["graph"] == ""


def test_only_qat_trains_with_fake_quantisation_and_only_heirs_load_a_graph(minimal):
    _, tasks = minimal
    specs = {name: constants(tasks, name)["spec"] for name in tasks if name.startswith("train-")}
    assert {name for name, spec in specs.items() if "enable_qat: true" in spec} == {"train-qat"}
    heirs = {name for name, spec in specs.items() if "load_graph: true" in spec}
    assert heirs == {name for name in specs if "init" in producers(tasks, name)}


def test_report_reads_every_stage(minimal):
    _, tasks = minimal
    assert set(producers(tasks, "report").values()) == set(tasks) - {"report", "review"}
    assert of_the_run(tasks, "report") == {"run_id": "run_id", "started": "started"}


def test_seed_and_addresses_are_parameters_of_the_run(minimal):
    _, tasks = minimal
    for name in tasks:
        if name.startswith(("render-", "train-")) or name == "sample":
            assert of_the_run(tasks, name)["seed"] == "seed"
        if name.startswith("train-"):
            assert of_the_run(tasks, name)["state"] == "state"
    assert of_the_run(tasks, "sample")["fraction"] == "fraction"
    assert of_the_run(tasks, "publish") == {"registry": "registry", "run_id": "run_id"}


def test_rendered_sets_share_no_world(minimal):
    _, tasks = minimal
    worlds = [constants(tasks, f"render-{name}")["world"] for name in ("real", "test", "synthetic")]
    assert len(set(worlds)) == 3
    looks = [constants(tasks, f"render-{name}")["look"] for name in ("real", "test", "synthetic")]
    assert looks == ["sensor", "sensor", "synthetic"]


@pytest.mark.parametrize(
    ("sources", "parts"),
    [
        ({"real": "r"}, {"ingest-real": ("real", "train"), "ingest-test": ("real", "test")}),
        ({"real": "r", "test": "t"}, {"ingest-real": ("real", "all"), "ingest-test": ("test", "test")}),
        ({"test": "t"}, {"ingest-test": ("test", "test")}),
        ({"synthetic": "s"}, {"ingest-synthetic": ("synthetic", "all")}),
    ],
    ids="-".join,
)
def test_folders_of_ones_own_take_the_place_of_rendered_sets(sources, parts, tmp_path):
    root, tasks = graph_of(with_sources(load_profile("minimal"), **sources), tmp_path)
    found = {
        name: (of_the_run(tasks, name)["source"], constants(tasks, name)["part"])
        for name in tasks
        if name.startswith("ingest-")
    }
    assert found == parts
    rendered = {name for name in tasks if name.startswith("render-")}
    assert len(rendered) + len(parts) == 3
    defaults = root["inputDefinitions"]["parameters"]
    assert {name: defaults[name]["defaultValue"] for name in sources} == {
        name: f"/data/{folder}" for name, folder in sources.items()
    }


def test_an_arm_without_a_synthetic_share_mixes_nothing_in(tmp_path):
    _, tasks = graph_of(load_profile("minimal", ["finetune.synthetic_share=0"]), tmp_path)
    assert producers(tasks, "train-finetune") == {"dataset": "sample", "init": "train-synthetic"}


def test_a_threshold_takes_the_place_of_keep(tmp_path):
    profile = load_profile("minimal", ["prune.threshold=0.5", "prune.keep=null"])
    given = constants(graph_of(profile, tmp_path)[1], "prune")
    assert (given["threshold"], given["keep"]) == (0.5, 0)


@pytest.mark.parametrize("name", profile_names())
def test_profiles_are_named_and_described(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description.endswith(".")


def test_overrides_reach_every_depth_and_kind():
    profile = load_profile(
        "minimal",
        ["seed=7", "training.augmentation.zoom_min=0.5", "classes=[plane, ship]", "data.classes=[Plane:plane]"],
    )
    assert (profile.seed, profile.training.augmentation.zoom_min) == (7, 0.5)
    assert (profile.classes, profile.data.classes) == (["plane", "ship"], ["Plane:plane"])
    assert load_profile("minimal").seed == 0


def test_a_profile_of_ones_own_is_read_from_its_file(tmp_path):
    content = load_profile("minimal", ["seed=3"]).model_dump(mode="json")
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    assert load_profile(str(path)) == load_profile("minimal", ["seed=3"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.fraction=0", "profile minimal: data.fraction: should be greater than 0, not 0"),
        ("data.fraction=2", "profile minimal: data.fraction: should be less than or equal to 1, not 2"),
        ("data.fraction=half", "data.fraction: should be a valid number"),
        ("data.test_fraction=-1", "data.test_fraction: should be greater than 0, not -1"),
        ("size=100", "size: should be a multiple of 16, not 100"),
        ("sise=64", "'sise' is no setting; did you mean 'size'?"),
        ("data.fractoin=0.1", "'data.fractoin' is no setting; did you mean 'data.fraction'?"),
        ("finetune.fraction=0.1", "'finetune.fraction' is no setting; did you mean 'data.fraction'?"),
        ("training.augmentation.blur=1", "'training.augmentation.blur' is no setting"),
        ("model.arch=resnet50", "model.arch: should be 'resnet10', 'resnet18' or 'resnet34', not 'resnet50'"),
        ("real.steps=0", "real.steps: should be greater than or equal to 1, not 0"),
        ("real=5", "real: "),
        ("size.low=1", "'size' is a value, it has nothing below it"),
        ("classes=[Plane]", "classes.0: "),
        ("prune.threshold=0.5", "give either `threshold` or `keep`"),
        ("export.compute_capabilities=[ampere]", "export.compute_capabilities.0: "),
        ("data.fraction", "--set wants key=value"),
        ("=3", "--set wants key=value"),
        ("data.fraction=[", "the value is not YAML"),
    ],
)
def test_a_wrong_setting_is_one_sentence(override, sentence):
    with pytest.raises(SpecError) as caught:
        load_profile("minimal", [override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a: [", "is not YAML"), ("3", "holds no profile"), ("name: x\n", "real: Field required (and 4 more)")],
)
def test_a_broken_profile_file_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_profile(str(path))
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_there_is_no_such_profile():
    with pytest.raises(SpecError, match=r"no profile 'fast'; choose one of .*minimal.*quickstart"):
        load_profile("fast")


def test_steps_as_written_can_be_asked_for_in_yaml_which_reads_off_as_false():
    assert load_profile("quickstart", ["training.compile=off"]).training.compile == "off"
    assert load_profile("quickstart", []).training.compile == "auto"
