"""The images' Dockerfiles, and their entry as a pod runs it: no root, a read-only root, no network, a clean folder."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aerodet.pipelines.flows import compile_pipeline
from aerodet.pipelines.profiles import load_profile

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))


def instructions(path):
    """Return a Dockerfile's instructions as (name, rest), with continued lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def last_stage(path):
    found = instructions(path)
    start = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def name(path):
    return path.parent.name


def test_every_image_that_is_promised_is_there():
    assert [name(path) for path in DOCKERFILES] == ["aerodet", "tao", "tensorrt"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=name)
def test_the_linter_has_nothing_to_say(path):
    command = [str(Path(sys.executable).with_name("hadolint")), str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=name)
def test_bases_are_arguments_and_the_user_is_not_root(path):
    found = instructions(path)
    assert all(re.match(r"\$\{\w+\}", rest) for kind, rest in found if kind == "FROM")
    users = [rest for kind, rest in last_stage(path) if kind == "USER"]
    assert users[-1:] == ["10001:10001"]
    labels = " ".join(rest for kind, rest in last_stage(path) if kind == "LABEL")
    assert {"org.opencontainers.image.title", "org.opencontainers.image.base.name"} <= set(
        re.findall(r"[\w.]+(?==)", labels)
    )


def test_the_final_stage_installs_nothing_and_has_no_compiler():
    commands = " ".join(rest for kind, rest in last_stage(ROOT / "images" / "aerodet" / "Dockerfile") if kind == "RUN")
    assert not re.search(r"\b(pip|apt|apt-get|gcc|make)\b", commands)


def test_what_is_installed_comes_from_the_lock():
    for kind, rest in instructions(ROOT / "images" / "aerodet" / "Dockerfile"):
        for command in rest.split("&&") if kind == "RUN" else ():
            assert "pip install" not in command or "-c constraints.txt" in command


@pytest.fixture(scope="module")
def pod(tmp_path_factory):
    """Return a function that runs a command as the image does.

    The image's environment, user and working folder, in namespaces of its own: nothing but /tmp can be written, which
    is empty, and there is no network. The packages are those of this environment, from the same lock.
    """
    environment = {}
    for kind, rest in last_stage(ROOT / "images" / "aerodet" / "Dockerfile"):
        if kind == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    environment["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    folder = tmp_path_factory.mktemp("pod")
    root = os.geteuid() == 0

    def run(command):
        script = folder / "inside.sh"
        home = Path(sys.base_prefix)
        closed = next((p for p in reversed(home.parents) if not p.stat().st_mode & 1), None)
        hidden = folder / "interpreter"
        hidden.mkdir(exist_ok=True)
        opened = (
            f"mount -n --bind {home} {hidden}\nmount -n -t tmpfs -o mode=755 tmpfs {closed}\nmkdir -p {home}\n"
            f"mount -n --bind {hidden} {home}\n"
            if closed  # the interpreter is in a home that only its owner may enter
            else ""
        )
        script.write_text(
            f"set -e\nmount -n --make-rprivate /\n{opened}mount -n -t tmpfs -o mode=1777 tmpfs /var/tmp\n"
            f"mount -n -o remount,bind,ro /\nmount -n --move /var/tmp /tmp\ncd /tmp\n"
            f"exec setpriv {'--reuid=10001 --regid=10001 --clear-groups ' if root else ''}--no-new-privs "
            f'env -i {" ".join(shlex.quote(f"{k}={v}") for k, v in environment.items())} "$@"\n'
        )
        spaces = ["unshare", "--mount", "--net", "--pid", "--fork"] + ([] if root else ["--user", "--map-root-user"])
        return subprocess.run(
            [*spaces, "sh", str(script), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    if "Operation not permitted" in run(["true"]).stderr:
        pytest.skip("this kernel gives no namespaces to this user")
    return run


def entry():
    (found,) = [rest for kind, rest in last_stage(ROOT / "images" / "aerodet" / "Dockerfile") if kind == "ENTRYPOINT"]
    return json.loads(found)


def test_the_pod_is_what_it_claims(pod):
    inside = 'id -u; ls -A /tmp; touch /x /etc/x "$PWD/ok"; ls -A; tail -n +3 /proc/net/dev | cut -d: -f1'
    made = pod(["sh", "-c", inside])
    assert made.stdout.split() == ["10001", "ok", "lo"]
    assert made.stderr.count("Read-only file system") == 2


def test_the_images_entry_runs_without_root_network_or_a_writable_root(pod):
    made = pod([*entry(), "--version"])
    assert (made.returncode, made.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", made.stdout)


def test_a_stage_runs_in_the_image_as_the_cluster_starts_it(pod, tmp_path):
    package = compile_pipeline(load_profile("minimal"), tmp_path / "p.yaml")
    spec = yaml.load(package.read_text(), Loader=yaml.CSafeLoader)
    container = spec["deploymentSpec"]["executors"]["exec-synthesize"]["container"]
    artifact = {"name": "x", "type": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}, "metadata": {}}
    parameters = {"look": "sensor", "count": 2, "size": 64, "gsd": 2.0, "seed": 0, "world": 0}
    executor_input = {
        "inputs": {"parameterValues": parameters},
        "outputs": {
            "artifacts": {
                output: {"artifacts": [artifact | {"uri": f"/tmp/out/{output}"}]} for output in ("dataset", "metrics")
            },
            "outputFile": "/tmp/out/executor_output.json",
        },
    }
    arguments = [part.replace("{{$}}", json.dumps(executor_input)) for part in container["args"]]
    made = pod(["sh", "-c", '"$@" >&2 && ls /tmp/out/dataset && cat /tmp/out/executor_output.json', "sh",
                *container["command"], *arguments])  # fmt: skip
    assert made.returncode == 0, made.stderr
    files, output = made.stdout.split("{", 1)
    assert {"annotations.json", "provenance.json"} <= set(files.split())
    assert json.loads("{" + output)["artifacts"]["metrics"]["artifacts"][0]["metadata"]["images"] == 2
