"""Cameras in: the CaptureEngine port, the engines, and how the name of an engine becomes its class."""

import importlib

from gateway.capture.engine import NO_SOURCE, AsyncCaptureEngine, CaptureEngine, EngineFactory
from gateway.errors import SettingsError

ENGINES = {
    "auto": "gateway.capture.engines.auto:AutoCaptureEngine",
    "rtsp": "gateway.capture.engines.rtsp:RtspCaptureEngine",
    "pyav": "gateway.capture.engines.pyav:PyAVCaptureEngine",
    "opencv": "gateway.capture.engines.opencv:OpenCVCaptureEngine",
    "fake": "gateway.capture.engines.fake:FakeLiveStreamGenerator",
}
"""The module and class of each engine. They are imported when first needed: OpenCV alone costs 60 MB."""


def engine_factory(name: str) -> EngineFactory:
    """The engine of a ``CAPTURE_ENGINE`` setting: one of ours, or ``package.module:Class``.

    Raises :class:`~gateway.errors.SettingsError` where it cannot be imported or is no engine.
    """
    module_name, _, class_name = ENGINES.get(name, name).partition(":")
    try:
        engine = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"CAPTURE_ENGINE {name!r} cannot be imported: {error}") from error
    if not (isinstance(engine, type) and issubclass(engine, CaptureEngine | AsyncCaptureEngine)):
        raise SettingsError(f"CAPTURE_ENGINE {name!r} is not a subclass of gateway.capture.engine.CaptureEngine")
    return engine


def engine_name(engine: EngineFactory | CaptureEngine) -> str:
    """The name of the class of an engine, as ``CAPTURE_ENGINE`` has it.

    An engine without a source stands for its class. Raises ``SettingsError`` for anything else.
    """
    if isinstance(engine, CaptureEngine) and engine.source is NO_SOURCE:
        engine = type(engine)
    name = f"{getattr(engine, '__module__', '')}:{getattr(engine, '__qualname__', '')}"
    if not isinstance(engine, type) or engine_factory(name) is not engine:
        raise SettingsError("CaptureService: the engine is neither a name, nor a class, nor an engine without a source")
    return name
