"""Architectures by name, from our own modules and from libraries that are extras. Nothing is ever downloaded."""

from geoseg.models.zoo.published import load_imagenet
from geoseg.models.zoo.reach import reach
from geoseg.models.zoo.registry import ARCHITECTURES, Architecture, build, shapes, stride_of
from geoseg.models.zoo.tiny import tiny

__all__ = ["ARCHITECTURES", "Architecture", "build", "load_imagenet", "reach", "shapes", "stride_of", "tiny"]
