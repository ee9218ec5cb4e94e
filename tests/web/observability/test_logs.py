"""The log: one line per event, fields in JSON, repeats counted, no credential, no line forged by a client."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from web.observability.logs import (
    MESSAGES_MAX,
    REPEAT_S,
    VARIANTS_MAX,
    ConsoleFormatter,
    JsonFormatter,
    RateLimitedHandler,
)


class Log:
    """A logger of its own, on a clock that the test sets."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.now_s = 0.0
        self.text = io.StringIO()
        self.handler = RateLimitedHandler(self.text, lambda: self.now_s)
        self.handler.setFormatter(formatter)
        self.logger = logging.Logger("gateway.test", logging.DEBUG)  # noqa: LOG001  (apart from all other loggers)
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


def test_json_has_the_fields_that_the_caller_passes(machine: Log) -> None:
    machine.logger.info("camera %s: viewer %s left", "door", "v1", extra={"camera": "door", "viewer": "v1"})
    machine.logger.warning("camera %s: é", "door")
    first, second = map(json.loads, machine.lines)
    time = first.pop("time")
    assert time.endswith("Z")
    assert len(time) == len("2026-11-23T18:50:00.123Z")
    assert first == {
        "level": "info",
        "logger": "gateway.test",
        "message": "camera door: viewer v1 left",
        "camera": "door",
        "viewer": "v1",
    }
    assert second.keys() == {"time", "level", "logger", "message"}
    assert "é" in machine.lines[1]


def test_the_console_has_time_level_and_logger(console: Log) -> None:
    console.logger.info("camera %s: live", "door")
    time, level, logger, message = console.lines[0].split(maxsplit=3)
    assert time.endswith("Z")
    assert (level, logger, message) == ("INFO", "gateway.test:", "camera door: live")


def test_a_repeated_message_is_counted(console: Log) -> None:
    for _ in range(100):
        console.logger.warning("camera %s: retrying: %s", "door", "connection refused")
        console.logger.warning("camera %s: retrying: %s", "yard", "connection refused")
        console.now_s += REPEAT_S / 200
    assert len(console.lines) == 2
    console.now_s += REPEAT_S
    console.logger.info("something else")
    assert len(console.lines) == 5
    first = console.lines[0][len("2026-11-28T") :][: len("19:07:32")]
    assert console.lines[2].endswith(
        f"gateway.test: repeated 99 times since {first}Z: camera door: retrying: connection refused"
    )
    console.logger.warning("camera %s: retrying: %s", "door", "connection refused")
    assert len(console.lines) == 6


def test_debug_is_not_limited(console: Log) -> None:
    for _ in range(5):
        console.logger.debug("a frame")
    assert len(console.lines) == 5


def test_the_counts_that_are_left_are_written_at_the_end(machine: Log) -> None:
    for _ in range(3):
        machine.logger.error("camera %s: failed", "door", extra={"camera": "door"})
    machine.handler.close()
    assert [json.loads(line).get("repeated") for line in machine.lines] == [None, 2]
    first, count = (json.loads(line) for line in machine.lines)
    assert count["camera"] == "door"
    assert count["message"] == f"repeated 2 times since {first['time'][11:19]}Z: camera door: failed"


def test_a_single_repeat_is_written_as_once(console: Log) -> None:
    for _ in range(2):
        console.logger.error("camera door: failed")
    console.handler.close()
    assert "repeated once since " in console.lines[1]


def test_the_number_of_remembered_messages_is_limited(console: Log) -> None:
    for number in range(2000):
        console.logger.info(f"event {number}")  # noqa: G004
    assert len(console.lines) == 2000
    assert len(console.handler._repeats) <= MESSAGES_MAX
    assert len(console.handler._kinds) <= MESSAGES_MAX


def test_messages_of_one_kind_are_counted_beyond_a_limit(machine: Log) -> None:
    for number in range(1000):
        machine.logger.warning("wrong token from %s", f"192.0.2.{number}", extra={"client": f"192.0.2.{number}"})
    assert len(machine.lines) == VARIANTS_MAX
    machine.now_s += REPEAT_S
    machine.logger.info("something else")
    count = json.loads(machine.lines[VARIANTS_MAX])
    first = json.loads(machine.lines[0])["time"][11:19]
    assert count["message"] == f"{1000 - VARIANTS_MAX} more like this since {first}Z: wrong token from 192.0.2.999"
    assert (count["repeated"], count["client"]) == (1000 - VARIANTS_MAX, "192.0.2.999")
    assert len(machine.lines) == VARIANTS_MAX + 2
    machine.logger.warning("wrong token from %s", "192.0.2.7")
    assert len(machine.lines) == VARIANTS_MAX + 3


def test_messages_of_one_kind_about_many_cameras_are_all_written(machine: Log) -> None:
    for number in range(200):
        machine.logger.info("camera %s: live", f"c{number}", extra={"camera": f"c{number}"})
    assert len(machine.lines) == 200


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_no_credential_is_logged_and_no_line_is_forged(formatter: logging.Formatter) -> None:
    log = Log(formatter)
    try:
        raise OSError("rtsp://u:s3cret@h/ and http://h/?token=s3cret")
    except OSError:
        log.logger.exception(
            "camera %s: rtsp://u:s3cret@h/\nINFO forged %s",
            "rtsp://a:s3cret@b/",
            "\x1b[31m",
            extra={"camera": "rtsp://a:s3cret@b/"},
        )
    text = log.text.getvalue()
    assert "OSError" in text
    assert "s3cret" not in text
    assert "\x1b" not in text
    assert r"\nINFO forged" in text
    if isinstance(formatter, JsonFormatter):
        (line,) = log.lines
        assert "OSError" in json.loads(line)["exception"]


def test_a_wrong_format_string_does_not_lose_the_event(console: Log) -> None:
    console.logger.info("camera %s: %d", "door")  # noqa: PLE1206
    console.logger.info("camera %s")
    console.logger.info({"not": "text"})
    assert len(console.lines) == 3
