"""Cameras in: the CaptureEngine port, one engine a file, and the way from an engine's name to the engine."""

import importlib

from gateway.capture.engine import CaptureEngine, EngineFactory
from gateway.errors import SettingsError

ENGINES = {
    "pyav": "gateway.capture.engines.pyav:PyAVCaptureEngine",
    "opencv": "gateway.capture.engines.opencv:OpenCVCaptureEngine",
    "fake": "gateway.capture.engines.fake:FakeLiveStreamGenerator",
}
"""Where each of liveedge's own engines lives. They are imported when first needed: OpenCV alone costs 60 MB."""


def engine_factory(name: str) -> EngineFactory:
    """The engine of a ``CAPTURE_ENGINE`` setting: one of ours, or ``package.module:Class``.

    Raises :class:`~gateway.errors.SettingsError` where it cannot be had.
    """
    module_name, _, class_name = ENGINES.get(name, name).partition(":")
    try:
        engine = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"CAPTURE_ENGINE {name!r} cannot be imported: {error}") from error
    if not (isinstance(engine, type) and issubclass(engine, CaptureEngine)):
        raise SettingsError(f"CAPTURE_ENGINE {name!r} is no subclass of gateway.capture.engine.CaptureEngine")
    return engine
