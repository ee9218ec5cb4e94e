"""Scopes: what a caller may do.

A *scope* is one kind of right; a *grant* is scopes over cameras. ``view`` is the live video in every form, ``archive``
is what was recorded, ``publish`` is to send the video of a camera that is pushed, ``ptz`` is to move a camera,
``talk`` is to be heard from its loudspeaker, ``control`` is every command that changes something else while the
gateway runs, ``admin`` is all of these and the cameras themselves. How a caller proves who they are is in
:mod:`web.auth`.
"""

from enum import StrEnum


class Scope(StrEnum):
    """A kind of permission: live video, commands, the archive, publishing, moving, talking, or everything."""

    __hash__ = str.__hash__  # Enum has one in Python, which costs more than the look-up

    VIEW = "view"
    CONTROL = "control"
    ARCHIVE = "archive"
    PUBLISH = "publish"
    PTZ = "ptz"
    TALK = "talk"
    ADMIN = "admin"
