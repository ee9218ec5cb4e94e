"""The wall clock of the host is set while the gateway records, and while it is stopped."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess

TABLE = '[cameras.door]\nurl = "faulty://door"\nengine = "tests.support.set_clock:Engine"\n'

MONTH_S = 30 * 86_400


def segments(gateway: GatewayProcess, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.json(f"/api/cameras/door/segments?limit=500{query}").get("segments", [])
    return [segment for segment in found if segment["state"] == "closed"]


def components(gateway: GatewayProcess) -> list[str]:
    return [problem["component"] for problem in gateway.json("/api/status")["problems"]]


def playlist(gateway: GatewayProcess) -> tuple[int, datetime]:
    """The media sequence number and the newest date of the live playlist."""
    text = gateway.fetch("/hls/door/live.m3u8")[2].decode()
    number = re.search(r"MEDIA-SEQUENCE:(\d+)", text)
    assert number is not None
    return int(number[1]), datetime.fromisoformat(re.findall(r"DATE-TIME:(\S+)", text)[-1])


def test_a_clock_that_is_set_ahead_and_back_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "liveedge.toml").write_text(TABLE)
    with GatewayProcess(tmp_path, ARCHIVE_SEGMENT_SECONDS=2, ARCHIVE_MAX_AGE=86_400) as gateway:
        eventually_sync(lambda: len(segments(gateway)) >= 2, "segments are closed")
        honest = {segment["id"] for segment in segments(gateway)}
        msn, date = playlist(gateway)
        (tmp_path / "ahead").write_text(str(MONTH_S))
        eventually_sync(lambda: "clock" in components(gateway), "the jump is reported")
        assert gateway.json("/api/status")["status"] == "degraded"
        assert gateway.json("/api/status")["archive"]["clock"]["fault"] == "jumped"
        assert b"liveedge_archive_clock_trusted 0.0" in gateway.fetch("/metrics")[2]
        eventually_sync(lambda: (playlist(gateway)[1] - date).days >= 29, "the playlist follows the clock")
        assert playlist(gateway)[0] >= msn
        eventually_sync(lambda: len(segments(gateway)) >= len(honest) + 3, "it records on")
        assert honest <= {segment["id"] for segment in segments(gateway)}
        # Also over a restart, and when the clock is set back.
        msn = playlist(gateway)[0]
        gateway.stop()
        gateway.start()
        gateway.wait_for_state("live", "door")
        assert "clock" in components(gateway)
        (tmp_path / "ahead").write_text("0")
        past = {segment["id"] for segment in segments(gateway, "&end=now")}
        future = {segment["id"] for segment in segments(gateway)} - past
        assert future
        eventually_sync(
            lambda: {each["id"] for each in segments(gateway, "&end=now")} - past, "it records honest dates"
        )
        eventually_sync(lambda: playlist(gateway)[0] > msn, "media sequence numbers go on")
        assert honest | future <= {segment["id"] for segment in segments(gateway)}
        found = eventually_sync(
            lambda: gateway.json("/api/cameras/door/segments/at?time=now").get("segment"), "the present is found"
        )
        assert found["id"] not in future
        listed = eventually_sync(
            lambda: (text := gateway.fetch("/hls/door/dvr.m3u8")[2].decode()) * (found["id"] in text),
            "it is played back",
        )
        order = [listed.index(name) for name in (*sorted(future), found["id"]) if name in listed]
        assert len(order) > 1
        assert order == sorted(order), "it has the order of recording, whatever the dates"
        # An administrator confirms: then the age rule is applied again, and finds nothing old.
        status, _, body = gateway.fetch("/api/archive/clock/confirm", method="POST")
        assert (status, b'"is_trusted":true' in body.replace(b" ", b"")) == (200, True)
        assert "clock" not in components(gateway)
        assert honest | future <= {segment["id"] for segment in segments(gateway)}
