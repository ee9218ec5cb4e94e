"""The requests of the EMS are written in order, one at a time, and once more at the end."""

import asyncio
import threading

from gateway.service import CaptureService
from signaling.ems_requests import EmsRequests
from signaling.request_keeper import RequestKeeper, RequestStore
from tests.support.manual_clock import ManualClock


class SlowDisk:
    """Each write ends when it is allowed to."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.written: list[bytes] = []
        self.writing = 0
        self.most = 0

    def save(self, data: bytes) -> None:
        self.writing += 1
        self.most = max(self.most, self.writing)
        self.begun.release()
        self.may_end.acquire()
        self.writing -= 1
        self.written.append(data)


async def test_the_end_waits_for_what_is_being_written_and_then_writes_the_last_change() -> None:
    requests, disk = EmsRequests(), SlowDisk()
    subject = RequestKeeper(requests, RequestStore(lambda: None, disk.save), ManualClock())
    await subject.start(CaptureService({}), keep_s=0)
    requests.add("door", "operator", None)
    subject.changed()
    await asyncio.to_thread(disk.begun.acquire)
    requests.add("door", "recorder", None)
    subject.changed()
    closing = asyncio.create_task(subject.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    for _ in range(3):
        disk.may_end.release()
    await closing
    assert disk.most == 1
    assert b"recorder" not in disk.written[0]
    assert b"recorder" in disk.written[-1]
