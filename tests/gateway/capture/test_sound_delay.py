"""What is moved where sound is later than the pictures, and what is not."""

from gateway.capture.sound_delay import EARLY_S, LATE_90K, LEFT_90K, SoundDelay
from gateway.clock import CLOCK_RATE


def moved(delay: SoundDelay, late_s: float, *, from_s: float, packets: int, picture_s: float = 0.04) -> list[int]:
    """Packets of 20 ms, so much later than the pictures, of which one comes every ``picture_s``."""
    found = []
    for number in range(packets):
        at_s = from_s + number * 0.02
        picture_90k = int(at_s / picture_s) * int(picture_s * CLOCK_RATE)
        found.append(delay.observe(picture_90k - int(late_s * CLOCK_RATE), picture_90k, at_s))
    return found


def test_sound_that_is_late_from_the_beginning_is_moved_with_its_second_packet() -> None:
    assert moved(SoundDelay(), 2.0, from_s=5, packets=3) == [0, 2 * CLOCK_RATE - LEFT_90K, 0]


def test_sound_that_becomes_late_is_moved_after_half_a_second() -> None:
    delay = SoundDelay()
    assert not any(moved(delay, 0.1, from_s=0, packets=50))
    found = moved(delay, 0.4, from_s=1, packets=30)
    assert not any(found[:24])
    assert sum(found) == 4 * CLOCK_RATE // 10 - LEFT_90K


def test_sound_that_is_late_for_a_while_is_not_moved() -> None:
    delay = SoundDelay()
    for second in range(10):
        assert not any(moved(delay, 0.0, from_s=second, packets=30))
        assert not any(moved(delay, 0.4, from_s=second + 0.6, packets=20))


def test_a_delay_that_lips_and_voice_may_have_is_kept() -> None:
    assert not any(moved(SoundDelay(), LATE_90K / CLOCK_RATE, from_s=0, packets=500))


def test_what_was_moved_is_moved_back_when_it_is_early() -> None:
    delay = SoundDelay()
    by_90k = sum(moved(delay, 3.0, from_s=0, packets=2))
    assert not any(moved(delay, 0.1, from_s=0.04, packets=300))
    packets = int(EARLY_S / 0.02) + 5
    assert sum(moved(delay, LEFT_90K / CLOCK_RATE - 3.0, from_s=7, packets=packets)) == -by_90k


def test_sound_that_is_ahead_of_rare_pictures_is_not_early() -> None:
    delay = SoundDelay()
    assert sum(moved(delay, 3.0, from_s=0, packets=2))
    assert not any(moved(delay, -1.0, from_s=1, packets=500, picture_s=5))
