"""Publishers as processes of their own: together at a signal, or killed at one step after the other.

::

    python registry_publisher.py together ADDRESS FOLDER NAME COUNT
    python registry_publisher.py killed ADDRESS FOLDER EVERY

``together`` prints the number that each of COUNT publishers got. ``killed`` publishes a model of its own for each step,
ends that publisher with SIGKILL there, and prints what a reader finds then and what the next publisher makes of it.
"""

import http.client
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from aerodet.registry import open_registry

FACTS = {
    "digests": {"test-set": "d" * 64},
    "metrics": {"ap50": 91.5},
    "parameters": {"train": {"epochs": 40}},
    "run_id": "run-1",
}


def files(folder):
    return {path.name: path for path in sorted(Path(folder).iterdir())}


def publish(address, folder, name):
    return open_registry(address).publish(name, files(folder), **FACTS)


def afterwards(address, folder, name):
    """Return the versions as a reader finds them, with the files that it can read: now, and after a publication."""
    registry = open_registry(address)

    def found():
        versions = registry.versions(name)
        return [[v.version, sorted(p for p in v.files if registry.read(v, p)), list(v.aliases)] for v in versions]

    after = found()
    registry.publish(name, files(folder), **FACTS)
    return {"after": after, "again": found()}


def forked(task):
    """Run a task in a child; return what it printed as JSON, or None when it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as stream:
            json.dump(task(), stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert status == 0, "a publisher failed"
    return json.loads(text)


def kill_at(step):
    """Let this process be killed at a step: before or after a request, a statement, a copy or a rename."""
    count = 0

    def tick(*_args, **_kwargs):
        nonlocal count
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    def around(owner, name):
        original = getattr(owner, name)

        def wrapped(*args, **kwargs):
            tick()
            result = original(*args, **kwargs)
            tick()
            return result

        setattr(owner, name, wrapped)

    around(http.client.HTTPConnection, "getresponse")
    around(shutil, "copyfile")
    around(Path, "replace")
    if "aiohttp" in sys.modules:
        import aiohttp

        original = aiohttp.ClientSession._request

        async def request(*args, **kwargs):
            tick()
            result = await original(*args, **kwargs)
            tick()
            return result

        aiohttp.ClientSession._request = request
    if "sqlalchemy" in sys.modules:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        writing = ("INSERT", "UPDATE", "DELETE")
        event.listen(Engine, "before_cursor_execute", lambda *a: tick() if a[2].startswith(writing) else None)
        event.listen(Engine, "commit", tick)


def killed(address, folder, every):
    forked(lambda: bool(publish(address, folder, "warm-up")))  # tables and experiments are made once
    open_registry(address).versions("warm-up")  # imports
    step, outcomes = 0, []
    while True:
        name = f"model-{step}"

        def die(step=step, name=name):
            kill_at(step)
            return publish(address, folder, name).version

        if forked(die) is not None:
            break
        outcomes.append({"step": step, **forked(lambda name=name: afterwards(address, folder, name))})
        step += every
    print(json.dumps(outcomes))


def together(address, folder, name, count):
    open_registry(address).models()  # imports
    reading, writing = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # ends when all are there
            version = publish(address, folder, name)
            os.write(1, f"{json.dumps([version.version, version.location])}\n".encode())  # in one piece
            os._exit(0)
        children.append(child)
    os.close(writing)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)


if __name__ == "__main__":
    mode, where, place, *rest = sys.argv[1:]
    if mode == "together":
        together(where, place, rest[0], int(rest[1]))
    else:
        killed(where, place, int(rest[0]))
