"""Detectors: the port, the one that comes with liveedge, and how a name becomes a class."""

import importlib

from gateway.detect.detector import DetectorFactory
from gateway.errors import SettingsError

DETECTORS = {"motion": "gateway.detect.motion:MotionDetector"}
"""The module and class of each detector. They are imported when first needed: numpy costs 11 MB."""


def detector_factory(name: str) -> DetectorFactory:
    """The detector of a ``detector`` setting: one of ours, or ``package.module:Class``.

    Raises :class:`~gateway.errors.SettingsError` where it cannot be imported or is no detector.
    """
    module_name, _, class_name = DETECTORS.get(name, name).partition(":")
    try:
        detector = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"DETECTOR {name!r} cannot be imported: {error}") from error
    if not callable(getattr(detector, "detect", None)):
        raise SettingsError(f"DETECTOR {name!r} has no method detect(), see gateway.detect.detector.Detector")
    factory: DetectorFactory = detector
    return factory
