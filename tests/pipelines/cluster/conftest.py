"""A pipeline API on loopback, and the way to it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_kfp import FakeKfp
from kfp import compiler, dsl

from aerodet.pipelines.cluster import Access, Api, connect
from aerodet.pipelines.cluster import api as api_module
from aerodet.pipelines.cluster._calls import Caller


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def step(text: str):
    print(text)


@dsl.pipeline(name="small")
def small(text: str = "word"):
    step(text=text).set_display_name("first")
    step(text=text).set_display_name("second step").set_retry(1)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled pipeline with two stages and a platform document."""
    path = tmp_path_factory.mktemp("package") / "small.yaml"
    compiler.Compiler().compile(small, str(path))
    text = path.read_text()
    path.write_text(f"{text}---\nplatforms:\n  kubernetes: {{}}\n")
    return path


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine leads to a cluster or gives a secret."""
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST", "AERODET_KFP_TOKEN", "AERODET_DEX_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")


@pytest.fixture
def server() -> Iterator[FakeKfp]:
    """A pipeline API; a request that its models do not know fails the test."""
    fake = FakeKfp()
    yield fake
    fake.close()
    assert fake.wrong == []


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that were waited, in no time."""
    return []


@pytest.fixture
def api(server: FakeKfp, pauses: list[float]) -> Api:
    """The API through a ``kfp.Client``, whose pauses take no time."""
    opened = connect(Access(host=server.url))
    opened.caller = Caller(opened.caller.server, opened.caller.advice, pause=pauses.append)
    return opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which a call waits less than half a second for its answer."""
    return lambda: monkeypatch.setattr(api_module, "TIMEOUT", (1, 0.4))
