"""The flows: each a pipeline of stages that a profile turns into one package.

Every flow's module builds a KFP pipeline from a profile; what they share is in ``_tasks``.
"""

from collections.abc import Callable
from pathlib import Path

from kfp import compiler
from kfp.dsl.graph_component import GraphComponent

from aerodet.errors import UserError
from aerodet.pipelines.flows import compress, main
from aerodet.pipelines.profiles import Profile

__all__ = ["FLOWS", "compile_pipeline"]

FLOWS: dict[str, Callable[..., GraphComponent]] = {
    "main": main.build_pipeline,
    "compress": compress.build_pipeline,
}


def compile_pipeline(profile: Profile, package: Path, *, cluster: bool = False, flow: str = "main") -> Path:
    """Compile a flow of a profile to IR YAML.

    Args:
        profile: the choices.
        package: the ``.yaml`` file to write.
        cluster: for a cluster, with the profile's pod settings; without them a package runs on any machine.
        flow: one of :data:`FLOWS`.

    Returns:
        ``package``.

    Raises:
        SpecError: the profile has pod settings for a stage that does not exist.
        UserError: there is no such flow.
    """
    if flow not in FLOWS:
        raise UserError(f"there is no flow {flow}; there are {', '.join(FLOWS)}")
    package.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(FLOWS[flow](profile, cluster=cluster), str(package))
    return package
