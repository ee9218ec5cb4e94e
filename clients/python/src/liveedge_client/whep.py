"""A WebRTC connection to a camera (WHEP), without a WebRTC stack: bring your own, such as aiortc."""

from types import TracebackType
from typing import Self

from yarl import URL

from liveedge_client.address import in_utf8
from liveedge_client.errors import LiveedgeError, NotFoundError, ServerError
from liveedge_client.http import Requests


class WhepViewer:
    """A viewer at the gateway. As a context manager it ends with the block."""

    def __init__(self, requests: Requests, url: URL, answer: str) -> None:
        self.answer = answer
        """The SDP that answers the offer. It has all candidates of the gateway."""
        self.url = url
        self._requests = requests

    @classmethod
    async def join(cls, requests: Requests, url: URL, offer: str) -> Self:
        """Send an SDP offer."""
        headers = {"Content-Type": "application/sdp", "Accept": "application/sdp"}
        async with requests.send("POST", url, data=in_utf8(offer, "the offer"), headers=headers) as response:
            location = response.headers.get("Location")
            if location is None:
                raise ServerError(response.status, "no_location", f"{url.origin()} answers an offer without Location")
            is_path = location.startswith("/")
            resource = requests.resolve_answered(location) if is_path else response.url.join(URL(location))
            return cls(requests, resource, await response.text())

    async def close(self) -> None:
        """End it. One that has ended is none to end."""
        try:
            async with self._requests.send("DELETE", self.url):
                pass
        except NotFoundError:
            pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except LiveedgeError:
            # The gateway ends a viewer that falls silent. The error of the block is the one that matters.
            if error is None:
                raise
