"""The command line, as a person types it, and a small pipeline to run."""

import sys

import pytest
from kfp import compiler
from local_stages import small

from aerodet.pipelines import cli


@pytest.fixture
def aerodet(monkeypatch, capfd, tmp_path):
    """Return a function that runs ``aerodet`` in an empty folder and returns its status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["aerodet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return (caught.value.code or 0, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "small.yaml"
    compiler.Compiler().compile(small, str(path))
    return path


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger.txt"
