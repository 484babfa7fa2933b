"""How the pipeline API is reached, and by whose leave.

::

    Access()                                             in a pod: its service account; else through the kubeconfig
    Access(host="https://kubeflow.example", token_file=Path("token"))
    Access(host="https://kubeflow.example", dex_user="ada@example.com", ca=Path("ca.pem"))

Secrets come from files or from the environment, never from the command line, and are neither printed nor stored.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerodet.errors import UserError
from aerodet.pipelines.cluster._calls import TIMEOUT, Caller
from aerodet.pipelines.cluster._dex import dex_cookies
from aerodet.pipelines.cluster._forward import port_forward

__all__ = ["PASSWORD_VARIABLE", "TOKEN_VARIABLE", "Access"]

TOKEN_VARIABLE = "AERODET_KFP_TOKEN"
PASSWORD_VARIABLE = "AERODET_DEX_PASSWORD"
# For the pipeline API alone. The token that Kubernetes itself would take is never sent to another server.
_POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")


@dataclass(frozen=True)
class Access:
    """The way to a Kubeflow Pipelines API.

    Attributes:
        host: its address; by default ``KF_PIPELINES_ENDPOINT``, in a pod the service, elsewhere the kubeconfig's way.
        namespace: where runs, secrets and claims are: the user's own in multi-user mode.
        kfp_namespace: where Kubeflow Pipelines itself is.
        token_file: file with a bearer token, read anew at each call; or the token is in ``AERODET_KFP_TOKEN``.
        dex_user: name to log in to Dex with; the password is in ``AERODET_DEX_PASSWORD``.
        ca: certificates of the authority that signed the server's.
        context: context of the kubeconfig; the current one by default.
        forward: reach it through ``kubectl port-forward``, for as long as this process lives.
        user_header: value of the ``kubeflow-userid`` header, where a port-forward goes past the login.
    """

    host: str | None = None
    namespace: str = "kubeflow"
    kfp_namespace: str = "kubeflow"
    token_file: Path | None = None
    dex_user: str | None = None
    ca: Path | None = None
    context: str | None = None
    forward: bool = False
    user_header: str | None = None

    def client(self) -> tuple[Any, Caller]:
        """Return a ``kfp.Client`` and the caller that its calls go through.

        Raises:
            UserError: a file is missing, a password is not set, or the login is refused.
            MachineError: the login page does not answer.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of versions before 2.0
            import kfp
        if self.ca is not None and not self.ca.is_file():
            raise UserError(f"there is no file {self.ca} with the server's CA")
        host = self.host or os.environ.get("KF_PIPELINES_ENDPOINT")
        inside = "KUBERNETES_SERVICE_HOST" in os.environ
        if self.forward:
            host = port_forward("ml-pipeline", 8888, namespace=self.kfp_namespace, context=self.context)
        if not host and inside:
            host = f"http://ml-pipeline.{self.kfp_namespace}.svc.cluster.local:8888"
        if not host:
            self._check_kubeconfig()
        options: dict[str, Any] = {"host": host, "ssl_ca_cert": str(self.ca) if self.ca else None}
        options |= {"kube_context": self.context, "credentials": self._credentials()}
        if self.dex_user:
            if not host:
                raise UserError("a login to Dex needs the address of the Kubeflow page: give the host")
            options["cookies"] = dex_cookies(host, self.dex_user, _password(), self.ca)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            client = _quiet_client(kfp, self.kfp_namespace)(**options, namespace=self.kfp_namespace)
        if self.user_header:
            client._run_api.api_client.set_default_header("kubeflow-userid", self.user_header)
        address = client._existing_config.host
        return client, Caller(f"the pipeline API at {address}", _ADVICE)

    def _credentials(self) -> Any:
        """Return what gives each call its bearer token, or None."""
        from kfp.client.token_credentials_base import TokenCredentialsBase

        token = self._token()

        class Token(TokenCredentialsBase):  # type: ignore[misc]  # kfp has no types
            def refresh_api_key_hook(self, config: Any) -> None:
                config.api_key["authorization"] = token() if token else ""

        return Token() if token else None

    def _token(self) -> Callable[[], str] | None:
        """Return a function that gives the token, or None where there is none to give."""
        if self.token_file is not None:
            file = self.token_file
            if not file.is_file():
                raise UserError(f"there is no file {file} with a token")
            return lambda: file.read_text(encoding="utf-8").strip()
        if token := os.environ.get(TOKEN_VARIABLE, "").strip():
            return lambda: token
        if "KUBERNETES_SERVICE_HOST" in os.environ and not self.dex_user:
            file = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH") or _POD_TOKEN)
            return (lambda: file.read_text(encoding="utf-8").strip()) if file.is_file() else None
        return None

    def _check_kubeconfig(self) -> None:
        """Look whether the kubeconfig leads anywhere; ``kfp.Client`` would go on without it."""
        from kubernetes import config

        try:
            config.load_kube_config(context=self.context, client_configuration=_unused_configuration())
        except (config.ConfigException, OSError) as error:
            raise UserError(
                f"there is no way to the pipeline API: no host was given, this is no pod, and the kubeconfig does not "
                f"serve ({' '.join(str(error).split())}); give a host, or set KUBECONFIG"
            ) from error


_ADVICE = (
    f"give a valid token ({TOKEN_VARIABLE} or a token file), log in to Dex with a user and {PASSWORD_VARIABLE}, or "
    "renew the kubeconfig"
)


def _password() -> str:
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password:
        raise UserError(f"set {PASSWORD_VARIABLE} to the password of the Dex user")
    return password


def _unused_configuration() -> Any:
    from kubernetes.client import Configuration

    return Configuration()


def _quiet_client(kfp: Any, namespace: str) -> Any:
    """Return a ``kfp.Client`` class that asks no server and touches no file of the user's when it is made."""

    class Client(kfp.Client):  # type: ignore[misc]  # kfp has no types
        def _load_config(self, *args: Any, **kwargs: Any) -> Any:
            settings = super()._load_config(*args, **kwargs)
            settings.retries = False  # the caller's are bounded, announced, and make nothing twice
            return settings

        def _load_context_setting_or_default(self) -> None:
            self._context_setting = {"namespace": namespace}

        def set_user_namespace(self, namespace: str) -> None:
            self._context_setting["namespace"] = namespace

    return Client


def healthz(client: Any, caller: Caller) -> Any:
    """Return the API's word on itself: ``multi_user`` and ``pipeline_store``."""
    return caller.read("say how it is", lambda: client.healthzs.healthz_service_get_healthz(_request_timeout=TIMEOUT))
