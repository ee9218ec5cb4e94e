"""Hold: keeps what can be watched going for one viewer, until it is released."""

from typing import Generic, Protocol, TypeVar


class _Holdable(Protocol):
    def end_hold(self, kind: str) -> None: ...


Held = TypeVar("Held", bound=_Holdable)


class Hold(Generic[Held]):
    """Keeps a rendition captured, or a transcode going, for one viewer, until it is released. Twice is harmless."""

    def __init__(self, rendition: Held, kind: str) -> None:
        self.rendition = rendition
        self.kind = kind
        self._is_released = False

    def release(self) -> None:
        """The viewer left."""
        if not self._is_released:
            self._is_released = True
            self.rendition.end_hold(self.kind)
