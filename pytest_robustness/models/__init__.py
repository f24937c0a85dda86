"""Models from one string: of torchvision, timm and transformers, exported files, ONNX files, and factories."""

from pytest_robustness.models.loaded import LoadedModel
from pytest_robustness.models.sources import load_model

__all__ = ["LoadedModel", "load_model"]
