"""Attacks on a gateway: each does one thing for some seconds, as fast as it can, and prints how often it did it.

    python -m bench.support.attacks NAME URL UDP_PORT SECONDS

``ATTACKS`` has the names.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from bench.support import camera_attacks, http_attacks, socketio_attacks, webrtc_attacks
from bench.support.attack_target import Target

Attack = Callable[[Target], Awaitable[None]]

ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        http_attacks.nothing,
        http_attacks.slow_heads,
        http_attacks.slow_readers,
        socketio_attacks.unjoined,
        socketio_attacks.binary_placeholders,
        socketio_attacks.socket_io_clients,
        http_attacks.snapshots,
        http_attacks.mjpeg_widths,
        http_attacks.capture_clients,
        http_attacks.hls_reloads,
        http_attacks.ranges,
        http_attacks.clips,
        webrtc_attacks.whep_posts,
        webrtc_attacks.datagrams,
        camera_attacks.cameras,
        camera_attacks.unreachable,
        http_attacks.scrapes,
        http_attacks.lingering,
        http_attacks.replays,
        http_attacks.recorded_pictures,
        socketio_attacks.socket_io_frames,
        socketio_attacks.socket_io_offers,
        webrtc_attacks.whep_joins,
        webrtc_attacks.trickle,
        camera_attacks.talkative_cameras,
    )
}


async def main(name: str, url: str, udp_port: str, seconds: str) -> None:
    target = Target(url, int(udp_port), float(seconds))
    await ATTACKS[name](target)
    print(", ".join(f"{count} {what}" for what, count in target.counts.most_common(4)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
