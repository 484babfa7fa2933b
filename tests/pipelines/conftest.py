"""The command line, as a person types it."""

import sys

import pytest

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
