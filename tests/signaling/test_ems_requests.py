"""The captures that the EMS has started, over a restart of the gateway."""

from pathlib import Path
from typing import Any

import pytest

from gateway.capture_clients import CLIENTS_MAX
from gateway.session import SessionState
from signaling.ems_requests import EmsRequests
from signaling.factory import create_messaging
from signaling.request_keeper import RequestStore
from tests.support.ems import Ems
from tests.support.ems_gateway import EmsGateway, announced, ask
from tests.support.eventually import eventually

DAY_S = 86_400.0


def requests(*pairs: tuple[str, str]) -> EmsRequests:
    made = EmsRequests()
    for camera_id, client_id in pairs:
        made.add(camera_id, client_id, {"purpose": "test"})
    return made


def test_requests_are_restored_with_their_metadata() -> None:
    written = requests(("door", "a"), ("door", "b"), ("yard", "a")).dump(1000.0)
    restored = EmsRequests()
    assert restored.restore(written, 1000.0 + DAY_S, DAY_S)
    assert [(each.camera_id, each.client_id) for each in restored] == [("door", "a"), ("door", "b"), ("yard", "a")]
    assert restored.cameras == ("door", "yard")
    assert all(each.metadata == {"purpose": "test"} for each in restored)


def test_after_a_long_time_off_nothing_is_restored() -> None:
    written = requests(("door", "a")).dump(1000.0)
    assert not EmsRequests().restore(written, 1001.0 + DAY_S, DAY_S)


def test_a_clock_that_was_set_back_makes_nothing_older() -> None:
    written = requests(("door", "a")).dump(100 * DAY_S)
    assert EmsRequests().restore(written, 0.0, DAY_S)


@pytest.mark.parametrize("written", [b"", b"{}", b"\xff", b"[1]", b'{"running_at": 1, "requests": [{"camera_id": 7}]}'])
def test_a_damaged_file_restores_nothing(written: bytes) -> None:
    restored = EmsRequests()
    assert not restored.restore(written, 1.0, DAY_S)
    assert len(restored) == 0


def test_what_the_ems_has_heard_is_kept_however_long_it_was_off() -> None:
    made = requests(("door", "a"))
    made.events_position = "epoch-7"
    for keep_s in (DAY_S, 0.0):
        restored = EmsRequests()
        assert not restored.restore(made.dump(1000.0), 1001.0 + DAY_S, keep_s)
        assert (restored.events_position, len(restored)) == ("epoch-7", 0)


def test_what_is_restored_is_bounded() -> None:
    written = requests(*(("door", f"client-{number}") for number in range(2 * CLIENTS_MAX))).dump(1.0)
    restored = EmsRequests()
    restored.restore(written, 1.0, DAY_S)
    assert len(restored) == CLIENTS_MAX


def test_a_stopped_request_is_forgotten() -> None:
    made = requests(("door", "a"), ("door", "b"))
    made.remove("door", "a")
    made.remove("door", "a")
    made.remove("yard", "a")
    assert [each.client_id for each in made] == ["b"]
    made.retain("door", lambda _: False)
    assert made.cameras == ()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


class Restartable(EmsGateway):
    """A gateway that keeps requests in a file."""

    def __init__(self, ems_url: str, path: Path, **settings: Any) -> None:
        super().__init__(ems_url, **settings)
        store = RequestStore(lambda: path.read_bytes() if path.exists() else None, lambda data: _write(path, data))
        self.messaging = create_messaging(self.settings, self.service, requests=store)


@pytest.mark.integration
async def test_a_capture_goes_on_after_a_restart_and_the_ems_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "requests.json"
    async with Ems() as ems:
        async with Restartable(ems.url, path):
            at = await announced(ems)
            for client in ("operator", "recorder"):
                await ems.emit("capture_start_request", ask(client, camera_id="yard"))
            await ems.emit("capture_stop_request", ask("operator", camera_id="yard"))
            await ems.expect("capture_status_response", lambda data: data.get("client_id") == "operator", at)
            # As after a power cut: what is on disk is what counts.
            await eventually(lambda: path.exists() and b"recorder" in path.read_bytes(), "the request is kept")
        at = len(ems.seen)
        async with Restartable(ems.url, path) as gateway:
            at, status = await ems.expect("capture_status_response", lambda data: data["camera_id"] == "yard", at)
            assert [each["client_id"] for each in status["data"]["requested_by"]] == ["recorder"]
            assert status["data"]["requested_by"][0]["since"].endswith("Z")
            await ems.expect("video_frame_from_service", lambda data: data["metadata"]["camera_id"] == "yard", at)
            await ems.emit("capture_stop_request", ask("recorder", camera_id="yard"))
            await eventually(lambda: gateway.state("yard") is SessionState.STOPPED, "the capture has ended")
        async with Restartable(ems.url, path) as gateway:
            await announced(ems, len(ems.seen))
            assert gateway.state("yard") is SessionState.STOPPED


@pytest.mark.integration
async def test_a_capture_is_restored_while_the_ems_is_away(tmp_path: Path, free_port: int) -> None:
    path = tmp_path / "requests.json"
    path.write_bytes(requests(("yard", "recorder"), ("attic", "recorder")).dump(9e9))
    async with Restartable(f"http://127.0.0.1:{free_port}", path) as gateway:
        await eventually(lambda: gateway.state("yard") is SessionState.LIVE, "the camera is live")
    path.write_bytes(requests(("yard", "recorder")).dump(9e9))
    async with Restartable(f"http://127.0.0.1:{free_port}", path, ems_request_keep=0) as gateway:
        assert gateway.state("yard") is SessionState.STOPPED
