"""What was sent, and what feedback says about it."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.webrtc.bandwidth.sent_packets import ENTRIES_MAX, REFERENCE_S, TICK_S, WIRE_BYTES, SentPackets


def test_a_message_about_two_batches_gives_two_groups() -> None:
    sent = SentPackets(65_534)
    assert sent.add(10.0, 3, 3000) == 65_534
    assert sent.add(10.02, 2, 400) == 65_537
    one, two = sent.take(65_534, 100, [0, 4, None, 8, 12])
    assert (one.sent_s, one.received, one.lost, one.received_bytes) == (10.0, 2, 1, 2 * (1000 + WIRE_BYTES))
    assert (one.first_arrival_s, one.last_arrival_s) == (100 * REFERENCE_S, 100 * REFERENCE_S + 4 * TICK_S)
    assert (two.sent_s, two.received, two.lost, two.received_bytes) == (10.02, 2, 0, 2 * (200 + WIRE_BYTES))


def test_a_batch_may_be_reported_in_parts_and_a_lost_packet_may_arrive_late() -> None:
    sent = SentPackets()
    sent.add(1.0, 4, 4000)
    (group,) = sent.take(0, 5, [1, None])
    assert (group.received, group.lost) == (1, 1)
    (group,) = sent.take(1, 5, [9, 10, 11])
    assert (group.received, group.lost) == (3, -1)
    assert sent.take(1, 5, [None, None]) == [], "it says nothing new"


def test_the_reference_time_wraps_after_12_days() -> None:
    sent = SentPackets()
    sent.add(1.0, 1, 1000)
    sent.add(1.1, 1, 1000)
    (before,) = sent.take(0, (1 << 24) - 1, [0])
    (after,) = sent.take(1, 0, [0])
    assert round(after.last_arrival_s - before.last_arrival_s, 6) == REFERENCE_S


def test_feedback_about_what_was_never_sent_gives_nothing() -> None:
    sent = SentPackets(100)
    assert sent.take(100, 0, [1]) == []
    sent.add(1.0, 2, 2000)
    assert sent.take(101, 0, [1, 2]) == []
    assert sent.take(90, 0, [1, 2]) == []


def test_old_entries_are_dropped_and_counted() -> None:
    sent = SentPackets()
    for number in range(2 * ENTRIES_MAX):
        sent.add(float(number), 1, 1000)
    assert len(sent) <= ENTRIES_MAX
    assert sent.entries_dropped >= ENTRIES_MAX
    groups = sent.take(2 * ENTRIES_MAX - 2, 0, [1, 2])
    assert [group.sent_s for group in groups] == [2 * ENTRIES_MAX - 2.0, 2 * ENTRIES_MAX - 1.0]


@given(
    st.integers(0, 1 << 17),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 70_000), st.lists(st.none() | st.integers(-500, 500), max_size=90)), max_size=20),
)
def test_whatever_feedback_says_no_packet_is_lost_more_than_once(
    first: int, batches: list[int], messages: list[tuple[int, list[int | None]]]
) -> None:
    sent = SentPackets(first)
    for place, count in enumerate(batches):
        sent.add(place / 100, count, 1000 * count)
    lost = 0
    for base, arrivals in messages:
        for group in sent.take((first + base % sum(batches)) & 0xFFFF, 7, arrivals):
            assert group.received + group.lost >= 0
            lost += group.lost
        assert 0 <= lost <= sum(batches)


def test_a_message_that_is_repeated_says_nothing_more_about_loss() -> None:
    sent = SentPackets(0)
    sent.add(1.0, 4, 4000)
    assert [group.lost for group in sent.take(0, 7, [1, None, None, 2])] == [2]
    assert [group.lost for group in sent.take(0, 7, [1, 3, None, 2])] == [-1]
    assert [group.lost for group in sent.take(0, 7, [1, 3, None, 2])] == [0]
