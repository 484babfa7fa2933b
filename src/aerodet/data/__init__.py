"""Labelled images: COCO and KITTI in and out, TFRecords, image sets in shards, tiles, splits and audits.

::

    source = read_coco("airbus-train")                          # what was fixed or left out: source.report
    train, test = split_by_fraction(source.records, 10 / 13, seed=1)
    tile_images(source, "tiles", 512, overlap=0.2)
    tiles = ImageSet("tiles")
    audit({"train": tiles}).errors
"""

from __future__ import annotations

from aerodet.data._boxes import Duplicates
from aerodet.data._coco_write import coco_document
from aerodet.data._layout import published_split
from aerodet.data.audit import Audit, Finding, SetAudit, audit
from aerodet.data.coco import CocoReport, CocoSource, OnBadBox, Policy, find_coco, group_of, read_coco
from aerodet.data.gather import check_image_set, copy_image_set, gather_image_sets
from aerodet.data.kitti import KittiReport, kitti_label, read_kitti, write_kitti
from aerodet.data.masks import decode_mask, encode_mask
from aerodet.data.pixels import decode_image, encode_image
from aerodet.data.plain import PlainReport, write_coco
from aerodet.data.records import Boxes, ImageFiles, ImageRecord, Images, Labels, Pixels
from aerodet.data.shards import ANNOTATIONS, ImageSet, ImageSetWriter, is_image_set
from aerodet.data.splits import Split, frame_of, split_by_fraction, split_by_frames
from aerodet.data.tfrecord import Frame, TFRecordReport, read_tfrecords, write_tfrecords
from aerodet.data.tiles import Tile, TileReport, Truncated, tile_frame, tile_grid, tile_images
from aerodet.data.yolo import YoloReport, read_yolo, write_yolo

__all__ = [
    "ANNOTATIONS",
    "Audit",
    "Boxes",
    "CocoReport",
    "CocoSource",
    "Duplicates",
    "Finding",
    "Frame",
    "ImageFiles",
    "ImageRecord",
    "ImageSet",
    "ImageSetWriter",
    "Images",
    "KittiReport",
    "Labels",
    "OnBadBox",
    "Pixels",
    "PlainReport",
    "Policy",
    "SetAudit",
    "Split",
    "TFRecordReport",
    "Tile",
    "TileReport",
    "Truncated",
    "YoloReport",
    "audit",
    "check_image_set",
    "coco_document",
    "copy_image_set",
    "decode_image",
    "decode_mask",
    "encode_image",
    "encode_mask",
    "find_coco",
    "frame_of",
    "gather_image_sets",
    "group_of",
    "is_image_set",
    "kitti_label",
    "published_split",
    "read_coco",
    "read_kitti",
    "read_tfrecords",
    "read_yolo",
    "split_by_fraction",
    "split_by_frames",
    "tile_frame",
    "tile_grid",
    "tile_images",
    "write_coco",
    "write_kitti",
    "write_tfrecords",
    "write_yolo",
]
