"""When a process that transcodes hangs."""

from gateway.transcode.watchdog import HUNG_PACKETS, HUNG_S, Watchdog


def test_a_process_hangs_that_makes_nothing_of_what_comes() -> None:
    watchdog = Watchdog()
    watchdog.sent(100.0)
    assert watchdog.fault(100.0 + HUNG_S - 0.1, HUNG_PACKETS) is None
    fault = watchdog.fault(100.0 + HUNG_S, HUNG_PACKETS - 1)
    assert fault == f"the process that transcodes has made nothing of {HUNG_PACKETS} packets in {HUNG_S:.0f} s"


def test_a_process_may_be_silent_while_the_camera_is_or_has_sent_few_packets() -> None:
    watchdog = Watchdog()
    assert watchdog.fault(1000.0, 0) is None
    watchdog.sent(1000.0)
    assert watchdog.fault(2000.0, HUNG_PACKETS - 2) is None, "a decoder keeps some back"
    watchdog.made()
    assert watchdog.fault(2000.0, HUNG_PACKETS) is None
