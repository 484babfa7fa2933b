"""A port of this machine that leads to a service of the cluster, by ``kubectl``."""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import threading

from aerodet.errors import MachineError, UserError

__all__ = ["port_forward"]

_SECONDS = 20.0


def port_forward(service: str, port: int, *, namespace: str, context: str | None = None) -> str:
    """Start ``kubectl port-forward`` for as long as this process lives.

    Args:
        service: the service's name.
        port: its port.
        namespace: where it is.
        context: context of the kubeconfig; the current one by default.

    Returns:
        The address on loopback.

    Raises:
        UserError: there is no kubectl, or it refuses.
        MachineError: it does not come up.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise UserError("a port-forward needs kubectl; install it, or give a host")
    command = [kubectl, *(["--context", context] if context else []), "--namespace", namespace]
    command += ["port-forward", "--address", "127.0.0.1", f"service/{service}", f":{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    atexit.register(_end, process)
    said = process.stdout
    if said is None:
        raise AssertionError("a pipe was asked for")
    late = threading.Timer(_SECONDS, process.terminate)
    late.start()
    line = said.readline()
    late.cancel()
    match = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ->", line)
    if match is None:
        words = " ".join((line + said.read()).split())
        _end(process)
        if words:
            raise UserError(f"kubectl does not forward to {service} in {namespace}: {words[:300]}")
        raise MachineError(f"kubectl did not forward to {service} in {namespace} within {_SECONDS:g} s")
    # It writes a line for each connection, and would stop at a full pipe.
    threading.Thread(target=said.read, daemon=True).start()
    return f"http://127.0.0.1:{match[1]}"


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
