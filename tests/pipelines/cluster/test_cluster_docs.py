"""The commands that the docs show are commands that there are."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from aerodet.pipelines.cli import app

DOCS = Path(__file__).parents[3] / "docs"


def shown(page):
    """Return the ``aerodet`` commands of a page's consoles, as words."""
    text = (DOCS / page).read_text().replace("\\\n", " ")
    lines = [re.sub(r"\s#\s.*", "", line) for line in text.splitlines()]
    return [shlex.split(line.removeprefix("$ aerodet ")) for line in lines if line.startswith("$ aerodet ")]


def test_the_way_to_a_scheduled_retraining_takes_ten_commands():
    assert re.findall(r"# (\d+)\b", (DOCS / "cluster.md").read_text()) == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("words", shown("cluster.md"), ids=" ".join)
def test_a_shown_command_has_the_options_that_it_is_given(words):
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_option_that_the_page_names_is_one():
    text = (DOCS / "cluster.md").read_text()
    commands = typer.main.get_command(app).commands
    group = commands["schedule"]
    known = set()
    for command in (*commands.values(), *group.commands.values()):
        known |= {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= known
