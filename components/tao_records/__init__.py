"""Write TFRecords and the spec for a TAO container."""

from aerodet.components.tao_records.component import tao_records

__all__ = ["tao_records"]
