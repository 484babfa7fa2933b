"""The floors: every import points down, and a component only declares."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "src" / "aerodet").rglob("*.py"))
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))
CLI = [path for path in PIPELINES if "cli" in path.relative_to(ROOT).parts]
DECLARATIONS = sorted((ROOT / "components").glob("*/component.py"))


def package_of(path: Path) -> list[str]:
    """Return the package that holds a file, by its import name."""
    inside = path.relative_to(ROOT / "src" if path.is_relative_to(ROOT / "src") else ROOT)
    parts = list(inside.parts[:-1])
    return parts if parts[0] == "aerodet" else ["aerodet", *parts]


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, at its top or inside a function, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def reach(path: Path, *names: str) -> set[str]:
    """Return those imports of a file that are one of the names or below it."""
    return {found for found in imports(path) for name in names if found == name or found.startswith(f"{name}.")}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_floor_has_files():
    assert len(LIBRARY) > 50
    assert len(DECLARATIONS) >= 22
    assert CLI


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_the_library_knows_neither_kubeflow_nor_the_floors_above(path):
    assert not reach(path, "kfp", "kubernetes", "aerodet.components", "aerodet.pipelines")


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_components_know_the_library_and_kfp(path):
    assert not reach(path, "kubernetes", "aerodet.pipelines")
    foreign = {module.split(".")[0] for module in imports(path)} - {"aerodet", "kfp"}
    assert foreign <= {"typing"} or path.name != "component.py"


@pytest.mark.parametrize("path", [path for path in PIPELINES if path not in CLI], ids=name)
def test_pipelines_do_not_know_the_command_line(path):
    assert not reach(path, "aerodet.pipelines.cli", "typer")


@pytest.mark.parametrize("path", DECLARATIONS, ids=name)
def test_a_component_only_declares(path):
    stage = path.parent.name
    docstring, *statements = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    *above, function = statements
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in above)
    assert isinstance(function, ast.FunctionDef)
    assert function.name == stage
    (decorator,) = [ast.unparse(decorator) for decorator in function.decorator_list]
    documentation, *body = function.body
    assert isinstance(documentation, ast.Expr)
    if decorator == "dsl.container_component":
        (answer,) = body
        assert isinstance(answer, ast.Return)
        assert isinstance(answer.value, ast.Call)
        assert ast.unparse(answer.value.func) == "dsl.ContainerSpec"
        return
    assert decorator == "dsl.component(base_image=IMAGE, install_kfp_package=False)"
    assert [ast.unparse(node) for node in body] == [
        "from aerodet import stages",
        f"stages.run(stages.{stage}, locals())",
    ]


def test_imports_are_seen_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "components" / "train" / "component.py"
    path.parent.mkdir(parents=True)
    path.write_text("import a.b\nfrom . import c\nfrom .._image import IMAGE\ndef f():\n    from kfp.local import x\n")
    assert imports(path) == {
        "a.b",
        "aerodet.components.train",
        "aerodet.components.train.c",
        "aerodet.components._image",
        "aerodet.components._image.IMAGE",
        "kfp.local",
        "kfp.local.x",
    }
