"""The environment of processes that the gateway starts: what libraries and drivers need, and no settings."""

import os

_NAMES = frozenset({"PATH", "HOME", "LANG", "TMPDIR"})
_PREFIXES = ("LD_", "LIBVA_", "CUDA_", "NVIDIA_", "PYTHON", "LC_")


def child_environment() -> dict[str, str]:
    """Settings, and the secrets in them, do not belong there."""
    return {name: value for name, value in os.environ.items() if name in _NAMES or name.startswith(_PREFIXES)}
