"""Publish an INT8 export to the model registry."""

from typing import Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def publish(
    bundle: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    benchmark: dsl.Input[dsl.Artifact],
    version: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    registry: str,
    name: str,
    run_id: str,
    gate: Optional[dsl.Input[dsl.Artifact]] = None,
):
    """Publish an INT8 export to the model registry, with its metrics and digests, as one version.

    It is published as a challenger, with model card, SBOM and provenance, signed where ``AERODET_SIGNING_KEY`` names a
    key, and becomes the champion if the gate let it pass. The same files published again are the same version. An
    export without an engine is not published.

    Args:
        bundle: The export.
        evaluation: Of its INT8 graph.
        benchmark: Its latency.
        version: ``version.json``: name, number, address and stage in the registry, or why nothing was published.
        metrics: Whether it was published, and the version's number.
        registry: Address, see docs/registry.md, such as ``sqlite:///registry/registry.db``.
        name: Registered model.
        run_id: The run that made it.
        gate: Verdict of the gate; without one nothing is promoted.
    """
    from aerodet import stages

    stages.run(stages.publish, locals())
