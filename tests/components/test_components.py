import importlib
import inspect
import re
import typing
from pathlib import Path

import pytest
from kfp import compiler, dsl
from kfp.dsl.container_component_class import ContainerComponent
from kfp.dsl.types.type_annotations import InputAnnotation, OutputAnnotation

from aerodet import components, stages
from aerodet.components import _readme
from aerodet.pipelines.check import check_package
from aerodet.tao import DEPLOY_IMAGE, TRAIN_IMAGE

NAMES = components.__all__
CONTAINERS = [n for n in NAMES if isinstance(getattr(components, n), ContainerComponent)]  # with no Python of ours
STAGES = [n for n in NAMES if n not in CONTAINERS]
FOLDER = Path(components.__file__).parent


def signature(name):
    return inspect.signature(_readme.function_of(getattr(components, name))).parameters


def hints(name):
    return typing.get_type_hints(_readme.function_of(getattr(components, name)), include_extras=True)


def direction(annotation):
    """Return whether an annotation is of an input artifact, an output artifact or a parameter."""
    if typing.get_origin(annotation) is typing.Union:  # Optional[Input[...]]
        annotation = typing.get_args(annotation)[0]
    marks = getattr(annotation, "__metadata__", ())
    if OutputAnnotation in marks:
        return "output"
    return "input" if InputAnnotation in marks else "parameter"


def by_direction(name):
    sides = {"input": set(), "output": set(), "parameter": set()}
    for argument, annotation in hints(name).items():
        if argument != "return":
            sides[direction(annotation)].add(argument)
    return sides


def test_every_folder_is_a_component():
    folders = {path.parent.name for path in FOLDER.glob("*/component.py")}
    assert folders == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_component_is_importable_from_its_folder(name):
    component = getattr(importlib.import_module(f"aerodet.components.{name}"), name)
    assert component is getattr(components, name)
    image = component.component_spec.implementation.container.image
    assert image in (TRAIN_IMAGE, DEPLOY_IMAGE) if name in CONTAINERS else image == components._image.IMAGE


@pytest.mark.parametrize("name", STAGES)
def test_a_component_takes_what_its_stage_takes(name):
    stage = getattr(stages, name)
    wanted = dict(inspect.signature(stage.function).parameters)
    sides = by_direction(name)
    taken = set().union(*sides.values()) - {"metrics"}
    takes_more = {n for n, p in wanted.items() if p.kind is inspect.Parameter.VAR_KEYWORD}
    named = wanted.keys() - takes_more

    assert named <= taken
    assert taken == named or (takes_more and taken - named <= sides["input"])
    assert sides["output"] == {*stage.outputs, "metrics"}
    assert stage.name == name


@pytest.mark.parametrize("name", STAGES)
def test_types_and_defaults_are_those_of_the_stage(name):
    wanted = inspect.signature(getattr(stages, name).function).parameters
    sides, own = by_direction(name), signature(name)
    for argument in wanted.keys() & own.keys():
        theirs = wanted[argument]
        if argument in sides["parameter"]:
            kind = own[argument].annotation
            spelled = str(theirs.annotation).replace("Sequence[", "list[")
            assert spelled == (kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.List", "list"))
            if theirs.default is not inspect.Parameter.empty:
                assert own[argument].default == theirs.default
        else:
            several = "typing.List" in str(own[argument].annotation)
            wanted_kind = "list[Path]" if several else "Path | None" if own[argument].default is None else "Path"
            assert theirs.annotation == wanted_kind


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_tells_of_every_argument_in_order(name):
    documentation = inspect.getdoc(_readme.function_of(getattr(components, name)))
    described = re.findall(r"^    (\w+): \S", documentation.partition("\nArgs:\n")[2], re.MULTILINE)
    assert described == list(signature(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_output_artifact_but_metrics_and_pages_is_plain(name):
    kinds = {argument: typing.get_args(hints(name)[argument])[0] for argument in by_direction(name)["output"]}
    assert name in CONTAINERS or kinds.pop("metrics") is dsl.Metrics
    assert set(kinds.values()) <= {dsl.Dataset, dsl.Model, dsl.Artifact, dsl.HTML}


def test_the_tables_of_the_readmes_are_up_to_date(capsys):
    assert _readme.main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_a_stale_table_is_found_and_written(tmp_path, monkeypatch, capsys):
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_bytes((FOLDER / name / "README.md").read_bytes())
    path = tmp_path / "prune" / "README.md"
    path.write_text(path.read_text().replace("`granularity`", "`grain`"))
    monkeypatch.setattr(_readme, "__file__", str(tmp_path / "_readme.py"))

    assert _readme.main(["--check"]) == 1
    assert "prune/README.md: out of date" in capsys.readouterr().out
    assert _readme.main([]) == 0
    assert _readme.main(["--check"]) == 0
    path.write_text("nothing")
    with pytest.raises(ValueError, match="no place for the tables"):
        _readme.stale()


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_says_what_it_is_for(name):
    title, purpose, *_ = (FOLDER / name / "README.md").read_text().split("\n\n")
    assert title == f"# {name}"
    assert len(purpose) > 100


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_readme_compiles_to_a_sound_pipeline(name, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (FOLDER / name / "README.md").read_text(), re.DOTALL)
    script = tmp_path / "example.py"  # KFP reads the source of what it compiles
    script.write_text(example)
    spec = importlib.util.spec_from_file_location("example", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (pipeline,) = [value for value in vars(module).values() if isinstance(value, dsl.graph_component.GraphComponent)]
    compiler.Compiler().compile(pipeline, str(tmp_path / "example.yaml"))
    assert check_package(tmp_path / "example.yaml") == []
    assert f"components.{name}(" in example
    assert max(map(len, example.splitlines())) <= 120
