"""Fanouts: the fan-outs of all renditions that WebRTC viewers get or wait for. Each exists while somebody uses it."""

from collections import Counter
from collections.abc import Callable

from gateway.clock import Clock
from gateway.rendition import Rendition
from gateway.transcode.transcode import Transcode
from gateway.webrtc.fanout import CameraFanout

Source = Rendition | Transcode
"""What viewers can be sent: a stream of the camera, or what is made of it."""

UnsupportedListener = Callable[[Source, str], None]


class Fanouts:
    """See the module. ``on_unsupported`` is called with the reason when a rendition sends what WebRTC cannot carry."""

    def __init__(self, clock: Clock, on_unsupported: UnsupportedListener) -> None:
        self._clock = clock
        self._on_unsupported = on_unsupported
        self._fanouts: dict[Source, CameraFanout] = {}
        self._users: Counter[Source] = Counter()
        self._audio_faults: Counter[str] = Counter()
        """Of fan-outs that are gone, by camera."""

    def __len__(self) -> int:
        return len(self._fanouts)

    def take(self, rendition: Source) -> CameraFanout:
        """The fan-out of a rendition, for one more user. Each call needs a :meth:`release`."""
        self._users[rendition] += 1
        fanout = self._fanouts.get(rendition)
        info = rendition.hub.info
        if fanout is not None and info is not None and fanout.codec not in (None, info.video.codec):
            # It has another codec now. The viewers of this fan-out leave it.
            self._audio_faults[rendition.camera_id] += fanout.audio_faults
            fanout.close()
            fanout = None
        if fanout is None:
            fanout = CameraFanout(rendition.hub, self._clock, lambda why: self._on_unsupported(rendition, why))
            self._fanouts[rendition] = fanout
        return fanout

    def release(self, rendition: Source) -> None:
        """One user less. The fan-out ends with the last one."""
        self._users[rendition] -= 1
        if self._users[rendition]:
            return
        del self._users[rendition]
        fanout = self._fanouts.pop(rendition)
        fanout.close()
        self._audio_faults[rendition.camera_id] += fanout.audio_faults

    def audio_faults(self, camera_id: str) -> int:
        """Audio packets of a camera that could not be transcoded. Never decreases."""
        present = (fanout.audio_faults for each, fanout in self._fanouts.items() if each.camera_id == camera_id)
        return self._audio_faults[camera_id] + sum(present)

    def forget(self, camera_id: str) -> None:
        """A camera was removed."""
        self._audio_faults.pop(camera_id, None)
