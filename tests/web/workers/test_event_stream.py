"""The ids of the stream of all workers' events."""

from web.workers.event_stream import read_positions, write_positions


def test_an_id_has_the_position_at_each_worker() -> None:
    positions = {2: "a8f-17", 1: "b77-3"}
    assert write_positions(positions) == "1=b77-3,2=a8f-17"
    assert read_positions(write_positions(positions)) == positions
    # Those of one process, or of nobody.
    for text in ("", "a8f-17", "x=1", "9999=1", "=1"):
        assert read_positions(text) == {}
