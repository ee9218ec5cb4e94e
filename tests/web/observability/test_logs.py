"""The log: one line an event, fields for machines, storms counted, no secret, no line that a client made."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from web.observability.logs import STORM_S, CalmHandler, ConsoleFormatter, JsonFormatter, subjects


class Log:
    """A logger of its own on a clock that the test turns."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.now_s = 0.0
        self.text = io.StringIO()
        self.handler = CalmHandler(self.text, lambda: self.now_s)
        self.handler.setFormatter(formatter)
        self.logger = logging.Logger("gateway.test", logging.DEBUG)  # noqa: LOG001  (nobody else gets at it)
        self.logger.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


@pytest.fixture
def console() -> Iterator[Log]:
    log = Log(ConsoleFormatter())
    yield log
    log.handler.close()


@pytest.fixture
def machine() -> Iterator[Log]:
    log = Log(JsonFormatter())
    yield log
    log.handler.close()


def test_json_has_camera_and_viewer_as_fields(machine: Log) -> None:
    machine.logger.info("camera %s: viewer %s has gone: %s", "door", "v1", "it left")
    machine.logger.info("%d of %s: 100%% of camera %s", 3, "x", "yard")
    machine.logger.warning("nothing of %s", "interest")
    first, second, third = map(json.loads, machine.lines)
    assert (first["level"], first["logger"], first["camera"], first["viewer"]) == ("info", "gateway.test", "door", "v1")
    assert first["message"] == "camera door: viewer v1 has gone: it left"
    assert first["time"].endswith("Z")
    assert second["camera"] == "yard"
    assert third.keys() == {"time", "level", "logger", "message"}


def test_a_storm_is_counted_and_not_repeated(console: Log) -> None:
    for _ in range(100):
        console.logger.warning("camera %s: retrying: %s", "door", "nobody listens")
        console.logger.warning("camera %s: retrying: %s", "yard", "nobody listens")
        console.now_s += STORM_S / 200
    assert len(console.lines) == 2
    console.now_s += STORM_S
    console.logger.info("something else")
    assert len(console.lines) == 5
    assert console.lines[2].endswith("camera door: retrying: nobody listens (99 more of these)")
    console.logger.warning("camera %s: retrying: %s", "door", "nobody listens")
    assert len(console.lines) == 6


def test_detail_is_not_damped(console: Log) -> None:
    for _ in range(5):
        console.logger.debug("a frame")
    assert len(console.lines) == 5


def test_what_is_left_to_say_is_said_at_the_end(machine: Log) -> None:
    for _ in range(3):
        machine.logger.error("camera %s: failed", "door")
    machine.handler.close()
    assert [json.loads(line).get("repeated") for line in machine.lines] == [None, 2]
    assert json.loads(machine.lines[1])["camera"] == "door"


def test_storms_are_remembered_within_bounds(console: Log) -> None:
    for number in range(2000):
        console.logger.info("event %d", number)
    assert len(console.lines) == 2000
    assert len(console.handler._storms) <= 512


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_no_secret_and_no_line_of_somebody_elses(formatter: logging.Formatter) -> None:
    log = Log(formatter)
    try:
        raise OSError("rtsp://u:s3cret@h/ and http://h/?token=s3cret")
    except OSError:
        log.logger.exception("camera %s: rtsp://u:s3cret@h/\nINFO forged %s", "rtsp://a:s3cret@b/", "\x1b[31m")
    text = log.text.getvalue()
    assert "s3cret" not in text
    assert "\x1b" not in text
    assert r"\nINFO forged" in text
    if isinstance(formatter, JsonFormatter):
        (line,) = log.lines
        assert "OSError" in json.loads(line)["exception"]


def test_a_line_that_was_written_wrongly_is_still_a_line(console: Log) -> None:
    console.logger.info("camera %s: %d", "door")  # noqa: PLE1206
    console.logger.info("camera %s")
    console.logger.info({"not": "text"})
    assert len(console.lines) == 3
    assert subjects(logging.makeLogRecord({"msg": "camera %s", "args": ()})) == {}
