"""Every way to the pipeline API, and that no secret is shown or stored."""

import base64
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from aerodet.errors import MachineError, UserError
from aerodet.pipelines.cluster import Access, _calls, _forward, access, connect
from aerodet.pipelines.cluster._dex import dex_cookies


def authorization(server):
    return [headers.get("authorization") for headers in server.headers]


def test_a_token_file_is_read_anew_at_each_call(server, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    api = connect(Access(host=server.url, token_file=file))
    api.recurring_runs()
    file.write_text("second\n")
    api.recurring_runs()
    assert authorization(server)[0] == "Bearer first"
    assert authorization(server)[-1] == "Bearer second"


def test_a_token_of_the_environment_is_sent(server, monkeypatch):
    server.token = "of-the-environment"
    monkeypatch.setenv("AERODET_KFP_TOKEN", "of-the-environment")
    connect(Access(host=server.url)).recurring_runs()
    assert set(authorization(server)) == {"Bearer of-the-environment"}


def test_in_a_pod_the_service_account_is_used(server, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("of-the-pod")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    client, _ = Access(kfp_namespace="kf").client()
    assert client._existing_config.host == "http://ml-pipeline.kf.svc.cluster.local:8888"
    connect(Access(host=server.url)).recurring_runs()
    assert set(authorization(server)) == {"Bearer of-the-pod"}


def test_a_token_for_kubernetes_itself_is_not_sent_to_the_pipeline_api(server, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    connect(Access(host=server.url)).recurring_runs()
    assert set(authorization(server)) == {None}


def test_through_the_kubeconfig_the_cluster_hands_the_call_on(server, monkeypatch, tmp_path):
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": "of-the-kubeconfig"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    original = server.answer
    proxy = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"

    def answer(method, path, *rest):
        before, _, after = path.partition(proxy)
        return original(method, "/" + after.lstrip("/") if not before else path, *rest)

    server.answer = answer
    connect(Access()).recurring_runs()
    assert set(authorization(server)) == {"Bearer of-the-kubeconfig"}


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Return a function that puts a kubectl onto the path which runs a script and notes its arguments."""

    def put(script):
        file = tmp_path / "bin" / "kubectl"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{script}\n')
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{file.parent}:/usr/bin:/bin")
        return tmp_path / "arguments"

    return put


def test_a_port_forward_leads_to_the_api_and_ends_with_the_process(server, kubectl, monkeypatch):
    ended = []
    monkeypatch.setattr("atexit.register", lambda end, process: ended.append((end, process)))
    port = server.url.rpartition(":")[2]
    arguments = kubectl(f'echo "Forwarding from 127.0.0.1:{port} -> 8888"; echo Handling; exec sleep 60')
    connect(Access(forward=True, kfp_namespace="kf", context="there")).recurring_runs()
    words = arguments.read_text().split()
    assert words[:5] == ["--context", "there", "--namespace", "kf", "port-forward"]
    assert words[-2:] == ["service/ml-pipeline", ":8888"]
    ((end, process),) = ended
    assert process.poll() is None
    end(process)
    assert process.poll() is not None
    process.stdout.close()


def test_a_port_forward_that_is_refused_is_said(kubectl):
    kubectl('echo "Error from server (NotFound): services not found" >&2; exit 1')
    with pytest.raises(UserError, match=r"does not forward to ml-pipeline in kubeflow: Error from server \(NotFound\)"):
        connect(Access(forward=True))


def test_a_port_forward_that_does_not_come_up_is_the_machines_fault(kubectl, monkeypatch):
    monkeypatch.setattr(_forward, "_SECONDS", 0.2)
    kubectl("exec sleep 60")
    with pytest.raises(MachineError, match=r"did not forward to ml-pipeline in kubeflow within 0\.2 s"):
        connect(Access(forward=True))


def test_a_port_forward_needs_kubectl(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs kubectl; install it, or give a host"):
        connect(Access(forward=True))


def test_past_a_login_the_users_name_goes_along(server):
    connect(Access(host=server.url, user_header="ada@example.com")).recurring_runs()
    assert all(headers["kubeflow-userid"] == "ada@example.com" for headers in server.headers)


def test_without_any_way_it_is_said_what_to_give(monkeypatch):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nonexistent")
    with pytest.raises(UserError, match="there is no way to the pipeline API: no host was given"):
        connect(Access())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"token_file": "/nonexistent"}, "there is no file /nonexistent with a token"),
        ({"ca": "/nonexistent"}, "there is no file /nonexistent with the server's CA"),
        ({"dex_user": "ada"}, "set AERODET_DEX_PASSWORD"),
    ],
)
def test_what_is_missing_is_said(server, options, sentence):
    from pathlib import Path

    given = {name: Path(value) if value.startswith("/") else value for name, value in options.items()}
    with pytest.raises(UserError, match=sentence):
        connect(Access(host=server.url, **given))


def test_a_wrong_token_is_refused_without_being_shown(server, monkeypatch, capfd):
    server.token = "right"
    monkeypatch.setenv("AERODET_KFP_TOKEN", "wrong-token")
    with pytest.raises(UserError, match=r"does not take the credentials \(401: .*no valid token\); give a") as caught:
        connect(Access(host=server.url)).recurring_runs()
    assert "wrong-token" not in str(caught.value) + "".join(capfd.readouterr())


def test_making_a_client_asks_nothing_and_touches_no_file(server, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "kfp" / "context.json"))
    (tmp_path / "kfp").mkdir()
    (tmp_path / "kfp" / "context.json").write_text('{"namespace": "other", "client_authentication_cookie": "stale=1"}')
    before = (tmp_path / "kfp" / "context.json").read_text()
    api = connect(Access(host=server.url))
    assert server.requests == []
    api.recurring_runs()
    assert "cookie" not in server.headers[-1]
    assert (tmp_path / "kfp" / "context.json").read_text() == before


class Dex(BaseHTTPRequestHandler):
    """Kubeflow behind a gateway and Dex; ``style`` says which gateway."""

    style = "authservice"
    password = "right"

    def do_GET(self):
        parts = urlsplit(self.path)
        if "session=yes" in self.headers.get("Cookie", "") or self.style == "open":
            self.answer(200, "the page")
        elif parts.path == "/dex/auth/local/login":
            self.answer(200, "a form")
        elif parts.path == "/dex/auth/local":
            self.redirect("/dex/auth/local/login?req=1")
        elif parts.path == "/dex/auth":
            self.answer(200, "which connector?")
        elif self.style == "other":
            self.redirect("/sign-in") if parts.path == "/" else self.answer(200, "another page")
        elif self.style == "oauth2-proxy" and parts.path != "/oauth2/start":
            self.answer(403, "sign in")
        else:
            self.redirect("/dex/auth?client_id=kubeflow")

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if urlsplit(self.path).path == "/dex/approval":
            self.redirect("/after", cookie=form.get("approval") == ["approve"])
        elif form == {"login": ["ada"], "password": [self.password]}:
            self.redirect("/dex/approval?req=1", status=200) if self.style == "approval" else self.redirect(
                "/after", cookie=True
            )
        else:
            self.answer(200, "wrong, again please")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def redirect(self, place, *, cookie=False, status=302):
        self.send_response(302)
        self.send_header("Location", place)
        if cookie:
            self.send_header("Set-Cookie", "session=yes; Path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        return


@pytest.fixture
def dex():
    """Return a function that starts a Kubeflow page of a style and gives its address."""
    servers = []

    def start(style):
        handler = type("Styled", (Dex,), {"style": style})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("style", ["authservice", "oauth2-proxy"])
def test_a_login_to_dex_gives_the_sessions_cookies(dex, style):
    assert dex_cookies(dex(style), "ada", "right") == "session=yes"


def test_a_page_that_asks_for_no_login_needs_no_cookies(dex):
    assert dex_cookies(dex("open"), "ada", "right") == ""


@pytest.mark.parametrize("style", ["authservice", "oauth2-proxy"])
def test_a_wrong_password_is_refused_without_being_shown(dex, style):
    with pytest.raises(UserError, match="does not take this name and password") as caught:
        dex_cookies(dex(style), "ada", "wrong-password")
    assert "wrong-password" not in str(caught.value)
    assert "req=" not in str(caught.value)


def test_a_page_that_is_not_dex_is_named(dex):
    with pytest.raises(UserError, match=r"leads to http://127.0.0.1:\d+/sign-in \(200\), which is no login page"):
        dex_cookies(dex("other"), "ada", "right")


def test_a_login_page_that_does_not_answer_is_the_machines_fault():
    with pytest.raises(MachineError, match=r"does not answer \(ConnectionError\)"):
        dex_cookies("http://127.0.0.1:9", "ada", "right")


def test_the_cookies_go_along_with_each_call(server, monkeypatch):
    server.cookie = "session=yes"
    monkeypatch.setenv("AERODET_DEX_PASSWORD", "right")
    monkeypatch.setattr(access, "dex_cookies", lambda host, user, password, ca: f"session=yes; user={user}")
    connect(Access(host=server.url, dex_user="ada")).recurring_runs()
    assert server.headers[-1]["cookie"] == "session=yes; user=ada"


def test_an_expired_session_is_told_from_a_missing_object(server):
    server.fail("recurringruns", 302, headers={"Location": "/dex/auth"})
    with pytest.raises(UserError, match="sends to a login page; give a valid token"):
        connect(Access(host=server.url)).recurring_runs()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of its own authority for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def test_a_server_with_a_ca_of_its_own_is_trusted_when_the_ca_is_given(server, certificate):
    import ssl

    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    host = server.url.replace("http://", "https://")
    connect(Access(host=host, ca=cert)).recurring_runs()
    untrusting = connect(Access(host=host))
    with pytest.raises(UserError, match=r"shows a certificate that is not trusted.*; give its CA"):
        untrusting.recurring_runs()


def test_only_what_a_client_raises_is_made_a_sentence():
    caller = _calls.Caller("the server", "advice", pause=lambda _seconds: None)

    def broken():
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        caller.read("work", broken)


def test_a_secret_is_not_part_of_what_is_printed(tmp_path):
    (tmp_path / "token").write_text("secret-token")
    assert "secret-token" not in repr(Access(token_file=tmp_path / "token"))
    assert base64.b64encode(b"secret-token").decode() not in repr(Access(token_file=tmp_path / "token"))
