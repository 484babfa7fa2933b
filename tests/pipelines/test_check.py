import copy
import json

import pytest
import yaml
from kfp import compiler, dsl, kubernetes

from aerodet.errors import UserError
from aerodet.pipelines.check import check_package

stage = dsl.component(base_image="python:3.11", install_kfp_package=False)


@stage
def draw(count: int, dataset: dsl.Output[dsl.Dataset], total: dsl.OutputPath(int)):
    del count, dataset, total


@stage
def learn(dataset: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model], rate: float = 0.1):
    del dataset, model, rate


@stage
def look(anything: dsl.Input[dsl.Artifact], total: int):
    del anything, total


@dsl.pipeline(name="nested")
def nested(rate: float, dataset: dsl.Input[dsl.Dataset]) -> dsl.Model:
    return learn(dataset=dataset, rate=rate).outputs["model"]


@stage
def tidy(status: dsl.PipelineTaskFinalStatus):
    del status


@dsl.pipeline(name="plain")
def plain(count: int = 3):
    drawn = draw(count=count)
    trained = learn(dataset=drawn.outputs["dataset"])
    kubernetes.empty_dir_mount(trained, "dshm", "/dev/shm", medium="Memory", size_limit="1Gi")
    look(anything=trained.outputs["model"], total=drawn.outputs["total"])


@dsl.pipeline(name="branching")
def branching(rates: list = [0.1, 0.2], count: int = 3):  # noqa: B006
    with dsl.ExitHandler(tidy()):
        drawn = draw(count=count)
        with dsl.ParallelFor(rates) as rate:
            model = nested(dataset=drawn.outputs["dataset"], rate=rate)
            with dsl.If(drawn.outputs["total"] > 2):
                look(anything=model.output, total=drawn.outputs["total"])


def compile_to(pipeline, path):
    compiler.Compiler().compile(pipeline, str(path))
    return path


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    path = compile_to(plain, tmp_path_factory.mktemp("package") / "plain.yaml")
    return list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))


@pytest.fixture
def damaged(documents, tmp_path):
    """Call with a function that damages the parsed documents; returns the faults that are found."""

    def check(damage):
        changed = copy.deepcopy(documents)
        damage(*changed)
        path = tmp_path / "damaged.yaml"
        path.write_text("\n---\n".join(json.dumps(document) for document in changed))
        return check_package(path)

    return check


@pytest.mark.parametrize("pipeline", [plain, branching])
def test_what_the_compiler_writes_is_sound(pipeline, tmp_path):
    assert check_package(compile_to(pipeline, tmp_path / "package.yaml")) == []


def test_the_plain_pipeline_has_a_platform_document(documents):
    assert [sorted(document) for document in documents][1] == ["platforms"]


def task(spec, name):
    return spec["root"]["dag"]["tasks"][name]


def artifact_of(spec, task_name, name):
    return task(spec, task_name)["inputs"]["artifacts"][name]["taskOutputArtifact"]


def parameter_of(spec, task_name, name):
    return task(spec, task_name)["inputs"]["parameters"][name]


def unknown_field(spec, _):
    spec["rooot"] = {}


def unknown_field_of_an_executor(spec, _):
    spec["deploymentSpec"]["executors"]["exec-draw"]["container"]["imag"] = "python"


def unknown_field_of_the_platform(_, platform):
    platform["platfroms"] = {}


def unknown_kubernetes_setting(_, platform):
    platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-learn"]["sharedMemory"] = 1


def platform_settings_of_no_executor(_, platform):
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors["exec-lern"] = executors.pop("exec-learn")


def dangling_component(spec, _):
    task(spec, "learn")["componentRef"]["name"] = "comp-lern"


def dangling_executor(spec, _):
    spec["components"]["comp-learn"]["executorLabel"] = "exec-lern"


def component_of_nothing(spec, _):
    del spec["components"]["comp-learn"]["executorLabel"]


def no_tasks(spec, _):
    del spec["root"]["dag"]


def artifact_of_no_task(spec, _):
    artifact_of(spec, "learn", "dataset")["producerTask"] = "drawn"


def artifact_that_is_not_put_out(spec, _):
    artifact_of(spec, "learn", "dataset")["outputArtifactKey"] = "data"


def artifact_of_another_type(spec, _):
    spec["components"]["comp-learn"]["inputDefinitions"]["artifacts"]["dataset"]["artifactType"] = {
        "schemaTitle": "system.Model",
        "schemaVersion": "0.0.1",
    }


def artifact_of_an_input_that_is_not_there(spec, _):
    task(spec, "learn")["inputs"]["artifacts"]["dataset"] = {"componentInputArtifact": "given"}


def artifact_that_is_not_taken(spec, _):
    artifacts = task(spec, "learn")["inputs"]["artifacts"]
    artifacts["images"] = artifacts["dataset"]


def artifact_that_is_left_out(spec, _):
    del task(spec, "learn")["inputs"]["artifacts"]["dataset"]


def parameter_of_no_task(spec, _):
    parameter_of(spec, "look", "total")["taskOutputParameter"]["producerTask"] = "drawn"


def parameter_that_is_not_put_out(spec, _):
    parameter_of(spec, "look", "total")["taskOutputParameter"]["outputParameterKey"] = "sum"


def parameter_of_an_input_that_is_not_there(spec, _):
    parameter_of(spec, "draw", "count")["componentInputParameter"] = "number"


def parameter_that_is_not_taken(spec, _):
    task(spec, "draw")["inputs"]["parameters"]["number"] = {"runtimeValue": {"constant": 3}}


def parameter_that_is_left_out(spec, _):
    del task(spec, "draw")["inputs"]["parameters"]["count"]


def constant_of_another_type(spec, _):
    task(spec, "draw")["inputs"]["parameters"]["count"] = {"runtimeValue": {"constant": "three"}}


def no_waiting_for_the_producer(spec, _):
    task(spec, "learn")["dependentTasks"] = []


def waiting_for_no_task(spec, _):
    task(spec, "learn")["dependentTasks"].append("drawn")


def cycle(spec, _):
    task(spec, "draw")["dependentTasks"] = ["look"]


def no_image(spec, _):
    spec["deploymentSpec"]["executors"]["exec-draw"]["container"]["image"] = ""


def no_executor_kind(spec, _):
    spec["deploymentSpec"]["executors"]["exec-draw"] = {}


def installs_at_run_time(spec, _):
    spec["deploymentSpec"]["executors"]["exec-draw"]["container"]["command"][2] += "pip install kfp"


def unused_component(spec, _):
    del task(spec, "look")["componentRef"]
    task(spec, "look")["componentRef"] = {"name": "comp-draw"}


def unused_executor(spec, _):
    spec["deploymentSpec"]["executors"]["exec-more"] = spec["deploymentSpec"]["executors"]["exec-draw"]


def output_of_no_task(spec, _):
    spec["root"]["dag"]["outputs"] = {
        "artifacts": {"model": {"artifactSelectors": [{"producerSubtask": "learn", "outputArtifactKey": "net"}]}}
    }


def output_that_is_only_promised(spec, _):
    spec["root"]["outputDefinitions"] = {"parameters": {"score": {"parameterType": "NUMBER_DOUBLE"}}}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (unknown_field, 'no field named "rooot"'),
        (unknown_field_of_an_executor, 'no field named "imag"'),
        (unknown_field_of_the_platform, 'no field named "platfroms"'),
        (unknown_kubernetes_setting, 'no field named "sharedMemory"'),
        (platform_settings_of_no_executor, "the platform has settings for executor exec-lern, which does not exist"),
        (dangling_component, "root: task learn refers to component comp-lern, which does not exist"),
        (dangling_executor, "component comp-learn refers to executor exec-lern, which does not exist"),
        (component_of_nothing, "component comp-learn has neither an executor nor tasks"),
        (no_tasks, "root: a pipeline needs tasks, and there are none"),
        (artifact_of_no_task, "root: task learn reads from task drawn, which does not exist"),
        (
            artifact_that_is_not_put_out,
            "root: task learn reads task draw's output data for artifact dataset, which does not exist",
        ),
        (
            artifact_of_another_type,
            "task draw's output dataset for artifact dataset: a system.Dataset where a system.Model is wanted",
        ),
        (
            artifact_of_an_input_that_is_not_there,
            "root: task learn reads root's input given for artifact dataset, which does not exist",
        ),
        (artifact_that_is_not_taken, "root: task learn is given artifact images, which its component does not take"),
        (artifact_that_is_left_out, "root: task learn is not given artifact dataset, which its component needs"),
        (parameter_of_no_task, "root: task look reads from task drawn, which does not exist"),
        (
            parameter_that_is_not_put_out,
            "root: task look reads parameter sum of task draw for total, which that does not put out",
        ),
        (
            parameter_of_an_input_that_is_not_there,
            "root: task draw reads parameter number for count, which root lacks",
        ),
        (parameter_that_is_not_taken, "root: task draw is given parameter number, which its component does not take"),
        (parameter_that_is_left_out, "root: task draw is not given parameter count, which its component needs"),
        (
            constant_of_another_type,
            "root: task draw is given a string as parameter count, where a NUMBER_INTEGER is wanted",
        ),
        (no_waiting_for_the_producer, "root: task learn reads from task draw but does not wait for it"),
        (waiting_for_no_task, "root: task learn waits for task drawn, which does not exist"),
        (cycle, "root: tasks wait for each other: "),
        (no_image, "executor exec-draw has no image"),
        (no_executor_kind, "executor exec-draw says nothing of what it runs"),
        (installs_at_run_time, "executor exec-draw runs pip install; put what it needs into its image"),
        (unused_component, "component comp-look is not used by any task"),
        (unused_executor, "executor exec-more is not used by any component"),
        (output_of_no_task, "root: output model reads net of task learn, which does not exist"),
        (output_that_is_only_promised, "root: output score comes from no task"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_told(damaged, damage, fault):
    assert any(fault in found for found in damaged(damage))


def test_one_fault_is_told_once(damaged):
    assert damaged(no_image) == ["executor exec-draw has no image"]
    assert damaged(waiting_for_no_task) == ["root: task learn waits for task drawn, which does not exist"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "the file is not YAML"),
        ("", "the file must hold one document"),
        ("- 1\n", "the file must hold one document"),
        ("a: 1\n---\nb: 1\n---\nc: 1\n", "the file must hold one document"),
        ("root: 3\n", "the schema is not kept"),
    ],
)
def test_what_is_no_package_is_told(tmp_path, text, fault):
    path = tmp_path / "package.yaml"
    path.write_text(text)
    (found,) = check_package(path)
    assert found.startswith(fault)


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        check_package(tmp_path / "package.yaml")
