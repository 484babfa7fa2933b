"""The image that our own stages run in."""

import os

__all__ = ["IMAGE"]

IMAGE = os.environ.get("AERODET_IMAGE", "aerodet:0.1.0")  # what `make images` tags; set it before compiling
