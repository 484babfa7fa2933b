"""The tables in the components' README files, written from signatures and docstrings.

::

    python -m aerodet.components._readme           # writes them
    python -m aerodet.components._readme --check   # says which are out of date; exit status 1 when any is
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from kfp.dsl.base_component import BaseComponent

from aerodet import components

__all__ = ["main", "stale", "tables"]

BEGIN = "<!-- From component.py, by `python -m aerodet.components._readme`. -->"
END = "<!-- End. -->"
_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables, or check them; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m aerodet.components._readme", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say which are out of date")
    check = parser.parse_args(arguments).check
    changed = stale()
    for path, text in changed.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{path}: {'out of date; run python -m aerodet.components._readme' if check else 'written'}")
    return int(check and bool(changed))


def stale() -> dict[Path, str]:
    """Return the README files whose tables are out of date, with the text that they should have."""
    changed = {}
    for name in components.__all__:
        path = Path(__file__).parent / name / "README.md"
        text = path.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f"{path} has no place for the tables; put there the lines {BEGIN} and {END}")
        written = f"{before}{BEGIN}\n\n{tables(getattr(components, name))}\n{END}{after}"
        if written != text:
            changed[path] = written
    return changed


def tables(component: BaseComponent) -> str:
    """Return a component's inputs, outputs and parameters as Markdown."""
    function = function_of(component)
    described = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(inspect.getdoc(function) or "")}
    kinds: dict[str, list[list[str]]] = {"Inputs": [], "Outputs": [], "Parameters": []}
    for name, parameter in inspect.signature(function).parameters.items():
        text = described[name]
        if name in component.component_spec.outputs:
            kinds["Outputs"].append([f"`{name}`", _artifact(parameter), text])
        elif component.component_spec.inputs[name].type.startswith("system."):
            optional = " (optional)" if parameter.default is None else ""
            kinds["Inputs"].append([f"`{name}`", _artifact(parameter) + optional, text])
        else:
            kinds["Parameters"].append([f"`{name}`", _type(parameter), _default(parameter), text])
    return "\n".join(line for heading, rows in kinds.items() if rows for line in _table(heading, rows))


def function_of(component: BaseComponent) -> Callable[..., Any]:
    """Return the function that declares a component, whether it runs our Python or a container."""
    function: Callable[..., Any] = getattr(component, "pipeline_func", None) or component.python_func
    return function


def _table(heading: str, rows: list[list[str]]) -> Iterator[str]:
    titles = [heading, "type", "default", "what it is"] if len(rows[0]) == 4 else [heading, "type", "what it is"]
    for cells in (titles, ["---"] * len(titles), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _artifact(parameter: inspect.Parameter) -> str:
    """Return the class of ``Input[Dataset]``, ``Output[Dataset]`` or ``Optional[Input[Dataset]]``."""
    annotation: Any = parameter.annotation
    while get_args(annotation):
        annotation = get_args(annotation)[0]
    return str(annotation.__name__)


def _type(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    return str(annotation.__name__ if not get_args(annotation) else annotation).replace("typing.List", "list")


def _default(parameter: inspect.Parameter) -> str:
    return "required" if parameter.default is parameter.empty else f"`{parameter.default!r}`"


if __name__ == "__main__":
    sys.exit(main())
