"""TalkService: the talkers of all cameras.

Rules:

1. One talks to a camera at a time (:mod:`gateway.talk.floor`), over whichever of the two ways.
2. A viewer's answer never waits for the camera: most viewers never talk, and many clients offer ``sendrecv`` anyway. It
   may talk unless it is known that the camera has no back channel. While nothing is known of the camera, it sends the
   best codec that it has.
3. Why the newest :data:`ENDED_MAX` sessions have ended is remembered, and told to clients that ask after them.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping

from gateway.camera import Camera
from gateway.clock import Clock
from gateway.errors import LiveedgeError, NotFoundError, UnavailableError
from gateway.talk.camera_talk import CameraTalk
from gateway.talk.formats import TALK_CODECS, choose
from gateway.talk.talker import WebRtcTalker, negotiate_talker, offered_codecs
from gateway.talk.turn import TalkCounters
from gateway.talk.viewer_voice import ViewerVoice
from gateway.webrtc.sdp.answer import LocalDescription
from gateway.webrtc.sdp.offer import parse_offer
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.voice import VoicePermit
from gateway.whip.answer import write_publisher_answer

ENDED_MAX = 64


class TalkService:
    """See the module. Uses the port and the certificate of the WebRTC server."""

    def __init__(self, webrtc: WebRtcServer, clock: Clock) -> None:
        self._webrtc = webrtc
        self._clock = clock
        self._talks: dict[str, CameraTalk] = {}
        self._talkers: dict[str, WebRtcTalker] = {}
        self._ended: OrderedDict[str, tuple[str, str]] = OrderedDict()
        """Camera and reason, by the session's id."""
        self._closed = False

    @property
    def talks(self) -> Mapping[str, CameraTalk]:
        """Of the cameras that somebody has wanted to talk to, by id."""
        return self._talks

    def of(self, camera: Camera) -> CameraTalk:
        """The talkers of a camera."""
        found = self._talks.get(camera.id)
        if found is None or found.camera is not camera:
            found = self._talks[camera.id] = CameraTalk(camera, self._clock)
        found.refresh()
        return found

    def talker(self, talker_id: str, camera_id: str) -> WebRtcTalker:
        """A session by its id and camera. Raises :class:`~gateway.errors.NotFoundError`, with why it has ended."""
        found = self._talkers.get(talker_id)
        if found is not None and found.camera_id == camera_id:
            return found
        ended_camera, reason = self._ended.get(talker_id, ("", ""))
        if ended_camera == camera_id:
            raise NotFoundError(f"this talker has ended: {reason}")
        raise NotFoundError("there is no such talker; it has ended, or never existed")

    async def join(self, camera: Camera, offer_sdp: str, *, who: str) -> WebRtcTalker:
        """Make a session from an offer; its ``answer_sdp`` is ready, and so is the camera.

        Raises ``BadRequestError`` for an invalid offer, ``NegotiationError`` for one that sends nothing that can be
        taken, :class:`~gateway.talk.errors.TalkBusyError`, :class:`~gateway.talk.errors.NoBackChannelError`,
        ``CaptureError`` where the camera cannot be reached, and ``UnavailableError`` while the server is closing.
        """
        offer = parse_offer(offer_sdp)
        codecs = offered_codecs(offer)
        if self._closed or not self._webrtc.listener.is_open:
            raise UnavailableError("the gateway is stopping")
        talker = WebRtcTalker(
            self.of(camera),
            who,
            codecs,
            new_transport=self._webrtc.new_transport,
            candidates=self._webrtc.listener.candidates,
            on_closed=self._on_closed,
        )
        self._talkers[talker.id] = talker
        self._webrtc.maintained.add(talker)
        try:
            choice = await talker.turn.wait_open()
            negotiated = negotiate_talker(offer, choice.codec)
        except BaseException as error:
            talker.close_soon(str(error) if isinstance(error, LiveedgeError) else "the client has left")
            raise
        agent = talker.transport.agent
        local = LocalDescription(
            session_id=secrets.randbits(62),
            stream_name=camera.id,
            credentials=((agent.username, agent.password),),
            fingerprint=self._webrtc.fingerprint,
            candidates=self._webrtc.listener.candidates(),
        )
        talker.start(negotiated)
        talker.answer_sdp = write_publisher_answer(negotiated, local)
        return talker

    def viewer_permit(self, camera: Camera, who: str) -> VoicePermit | None:
        """Lets a viewer talk; ``None`` where it is known that the camera has no back channel (rule 2)."""
        talk = self.of(camera)
        if not talk.may_have_back_channel:
            return None
        best = choose(talk.known_formats, TALK_CODECS.keys())
        if best is None:
            talk.find_out()
        first = (best.codec,) if best is not None else ()
        codecs = dict.fromkeys((*first, *TALK_CODECS))
        return VoicePermit(
            tuple(codecs),
            lambda viewer_id, codec, on_talking: ViewerVoice(viewer_id, talk, who, codec, self._clock, on_talking),
        )

    def talker_name(self, camera_id: str) -> str | None:
        """Who talks to a camera now."""
        talk = self._talks.get(camera_id)
        return talk.turn.who if talk is not None and talk.turn is not None else None

    def counters(self, camera_id: str) -> TalkCounters:
        """Of a camera, since the start."""
        talk = self._talks.get(camera_id)
        return talk.counters if talk is not None else TalkCounters()

    def change_camera(self, camera: Camera) -> None:
        """Apply a camera's settings."""
        if camera.id in self._talks:
            self.of(camera)

    async def close_camera(self, camera_id: str, reason: str) -> None:
        """End who talks to a camera that was removed."""
        talk = self._talks.pop(camera_id, None)
        if talk is not None:
            await talk.close(reason)

    async def close(self) -> None:
        """End all talkers. May be called twice."""
        self._closed = True
        reason = "the gateway is stopping"
        await asyncio.gather(*(each.close(reason) for each in tuple(self._talkers.values())))
        await asyncio.gather(*(each.close(reason) for each in tuple(self._talks.values())))

    def _on_closed(self, talker: WebRtcTalker) -> None:
        self._webrtc.maintained.discard(talker)
        if self._talkers.pop(talker.id, None) is not None:
            self._ended[talker.id] = talker.camera_id, talker.reason or ""
            while len(self._ended) > ENDED_MAX:
                self._ended.popitem(last=False)
