"""Hatchling's build hook: the player (``web/player/hatch_build.py``), then compiled modules (``compiled``)."""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOOKS = (("web/player/hatch_build.py", "PlayerBuildHook"), ("compiled/hatch_build.py", "CompileBuildHook"))
"""Files and the classes in them. Hatchling takes one hook of a project's own."""


class BuildHook(BuildHookInterface[Any]):
    """All of :data:`HOOKS`, in their order."""

    PLUGIN_NAME = "custom"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._hooks = [self._load(file, name)(*arguments, **named) for file, name in HOOKS]

    def dependencies(self) -> list[str]:
        return [each for hook in self._hooks for each in hook.dependencies()]

    def clean(self, versions: list[str]) -> None:
        for hook in self._hooks:
            hook.clean(versions)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        for hook in self._hooks:
            hook.initialize(version, build_data)

    def _load(self, file: str, name: str) -> type[BuildHookInterface[Any]]:
        spec = importlib.util.spec_from_file_location(file.replace("/", "_").removesuffix(".py"), Path(self.root, file))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        hook: type[BuildHookInterface[Any]] = getattr(module, name)
        return hook


def get_build_hook() -> type[BuildHookInterface[Any]]:
    """Called by hatchling."""
    return BuildHook
