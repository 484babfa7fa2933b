"""Read a COCO folder and cut it into tiles."""

from typing import List

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    source: str,
    part: str,
    classes: List[str],
    size: int,
    overlap: float,
    scale: float,
    min_visible: float,
    keep_empty: float,
    tile_format: str,
    on_bad_box: str,
    duplicates: str,
    test_fraction: float,
    seed: int,
    class_from: str = "",
    on_bad_entry: str = "fail",
    min_side: float = 2.0,
):
    """Read a COCO folder and cut its frames into tiles.

    Args:
        dataset: Image set: COCO annotations and tar shards.
        metrics: Images and boxes.
        source: The folder, as the pod sees it.
        part: ``all``, ``train`` or ``test``: the folder's own split, or the sides of one that keeps places together.
        classes: Class names wanted; ``plane:aircraft`` reads the file's ``plane`` as ``aircraft``.
        size: Side of a tile in pixels, a multiple of 16.
        overlap: Share of a tile's side that neighbours have in common.
        scale: Frames are resized by it before they are cut.
        min_visible: Least share of a box that a tile must show to keep it.
        keep_empty: Share of the tiles without boxes that is kept.
        tile_format: ``png`` keeps the pixels as they are, ``jpg`` is a quarter of the size.
        on_bad_box: ``fail``, ``fix`` or ``drop`` boxes outside the frame or of no size.
        duplicates: ``merge``, ``keep`` or ``fail`` on boxes that label an object a second time.
        test_fraction: Share of the images held apart for ``test``.
        seed: Of the split and of the choice of empty tiles.
        class_from: Field of the annotations that says the class, such as ``role``; empty for their category.
        on_bad_entry: ``fail``, ``fix`` or ``drop`` images that are missing or listed twice and boxes of no category.
        min_side: Least side of a box in pixels, in the frame and in a tile; one under it becomes a region to ignore.
    """
    from aerodet import stages

    stages.run(stages.ingest, locals())
