"""Which stream of a camera is decoded for JPEG, and its capture while it is.

Rules:

1. It is the smallest stream whose pictures have the width that is asked for. Without a width it is the main stream.
2. A sub stream that was not captured before is captured to learn its width.
3. One picture comes from the stream that has a GOP in memory: to start another one takes seconds.
4. Where the sub stream does not start, it is the main stream.
"""

from gateway.camera import Camera
from gateway.errors import UnavailableError
from gateway.rendition import Hold, Rendition
from gateway.session import SessionState

SUB_WAIT_S = 5.0
"""How long a sub stream may take to start before the main stream is taken: as the default of CAPTURE_TIMEOUT."""


async def hold_for_pictures(
    camera: Camera, kind: str, width: int | None, timeout_s: float, *, is_single: bool = False
) -> tuple[Rendition, Hold[Rendition]]:
    """The stream to decode, held for a viewer on the transport ``kind``, with a keyframe.

    ``width`` is in pixels. ``is_single`` asks for one picture (rule 3). Raises
    :class:`~gateway.errors.UnavailableError` where no stream starts within ``timeout_s``.
    """
    hold = await hold_sub(camera, kind, width, min(timeout_s, SUB_WAIT_S), is_single=is_single)
    if hold is not None:
        return hold.rendition, hold
    hold = camera.main.hold(kind)
    try:
        await camera.main.wait_for_keyframe(timeout_s)
    except BaseException:
        hold.release()
        raise
    return camera.main, hold


async def hold_sub(
    camera: Camera, kind: str, width: int | None, timeout_s: float = SUB_WAIT_S, *, is_single: bool = False
) -> Hold[Rendition] | None:
    """A hold of the sub stream, if that is the stream to decode; ``None``: it is the main stream."""
    sub = camera.sub
    if sub is None or not _may_suit(sub, width) or (is_single and camera.main.hub.gop and not sub.hub.gop):
        return None
    hold = sub.hold(kind)
    try:
        await sub.wait_for_keyframe(timeout_s)
    except UnavailableError:
        hold.release()
        return None
    except BaseException:
        hold.release()
        raise
    if not _may_suit(sub, width):
        hold.release()
        return None
    return hold


def _may_suit(sub: Rendition, width: int | None) -> bool:
    """Whether its pictures are wide enough, as far as known."""
    if width is None or sub.session.state is SessionState.FAILED:
        return False
    return sub.hub.info is None or sub.hub.info.video.width >= width
