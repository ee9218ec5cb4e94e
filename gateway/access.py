"""Scopes: what a caller may do.

A *scope* is one kind of right; a *grant* is scopes over cameras. ``view`` is the live video in every form,
``archive`` is what was recorded, ``control`` is every command that changes something while the gateway runs, ``admin``
is all of these and the cameras themselves. How a caller proves who they are is in :mod:`web.auth`.
"""

from enum import StrEnum


class Scope(StrEnum):
    """A kind of permission: live video, commands, the archive, or everything."""

    __hash__ = str.__hash__  # Enum has one in Python, which costs more than the look-up

    VIEW = "view"
    CONTROL = "control"
    ARCHIVE = "archive"
    ADMIN = "admin"
