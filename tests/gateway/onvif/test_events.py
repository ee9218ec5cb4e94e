"""gateway.onvif.events: notifications of cameras, and the events that they make."""

from collections.abc import Sequence

import pytest

from gateway.onvif.errors import OnvifError
from gateway.onvif.events import OPEN_MAX, EventStates, Notice, parse_notices, parse_subscription, pull_messages
from gateway.onvif.soap import envelope, parse_answer
from gateway.onvif.xml import parse_xml, text
from tests.support.onvif_camera import ENVELOPE, notification

NOW = 1_800_000_000.0
MOTION = "tns1:RuleEngine/CellMotionDetector/Motion"


def notices(*written: str) -> list[Notice]:
    body = f"<tev:PullMessagesResponse>{''.join(written)}</tev:PullMessagesResponse>"
    return parse_notices(parse_answer(ENVELOPE.format(body).encode(), "PullMessages"))


def notice(topic: str, key: str, value: str, kind: str = "Changed", source: str = "v1", at_s: float = NOW) -> Notice:
    return notices(notification(topic, key, value, source=source, kind=kind, at_s=at_s))[0]


def changes(
    states: EventStates, given: Sequence[Notice], offset_s: float = 0.0
) -> list[tuple[str, bool | None, float]]:
    return [(each.label, each.is_active, each.at_s) for one in given for each in states.take(one, NOW + 1, offset_s)]


@pytest.mark.parametrize(
    ("topic", "key", "label"),
    [
        ("tns1:VideoSource/MotionAlarm", "State", "motion"),
        (MOTION, "IsMotion", "motion"),
        ("tns1:RuleEngine/FieldDetector/ObjectsInside", "IsInside", "field"),
        ("tns1:Device/Trigger/DigitalInput", "LogicalState", "digital-input"),
        ("tns1:Device/tns1:Trigger/tns1:DigitalInput", "LogicalState", "digital-input"),
        ("tns1:RuleEngine/TamperDetector/Tamper", "IsTamper", "tamper"),
        ("tns1:VideoSource/GlobalSceneChange/ImagingService", "State", "tamper"),
        ("tns1:RuleEngine/MyRuleDetector/PeopleDetect", "State", "person"),
    ],
)
@pytest.mark.parametrize(("on", "off"), [("true", "false"), ("1", "0"), ("True", "False")])
def test_a_state_begins_and_ends_an_event(topic: str, key: str, label: str, on: str, off: str) -> None:
    given = [notice(topic, key, on), notice(topic, key, on), notice(topic, key, off, at_s=NOW + 1)]
    assert changes(EventStates(), given) == [(label, True, NOW), (label, False, NOW + 1)]


def test_a_crossed_line_is_a_moment_each_time() -> None:
    crossed = notice("tns1:RuleEngine/LineDetector/Crossed", "ObjectId", "1")
    assert changes(EventStates(), [crossed, crossed]) == [("line", None, NOW)] * 2


def test_states_at_the_beginning_of_a_subscription_are_compared_with_what_is_open() -> None:
    states = EventStates()
    first = [
        notice(MOTION, "IsMotion", "true", "Initialized"),
        notice(MOTION, "IsMotion", "false", "Initialized", "v2"),
    ]
    assert changes(states, first) == [("motion", True, NOW + 1)]  # since when is not known
    assert changes(states, [notice(MOTION, "IsMotion", "true", "Initialized")]) == []
    assert changes(states, [notice(MOTION, "IsMotion", "false", "Initialized")]) == [("motion", False, NOW + 1)]
    line = notice("tns1:RuleEngine/LineDetector/Crossed", "ObjectId", "1", "Initialized")
    assert changes(states, [line]) == []  # it was crossed before


def test_a_state_that_is_deleted_has_ended() -> None:
    states = EventStates()
    changes(states, [notice(MOTION, "IsMotion", "true")])
    assert changes(states, [notice(MOTION, "IsMotion", "true", "Deleted")]) == [("motion", False, NOW)]


def test_sources_have_states_of_their_own_and_other_lenses_are_left_out() -> None:
    states = EventStates(frozenset({"v1"}))
    given = [notice(MOTION, "IsMotion", "true", source=each) for each in ("v1", "v2")]
    assert changes(states, given) == [("motion", True, NOW)]


def test_other_topics_make_no_events() -> None:
    assert changes(EventStates(), [notice("tns1:Monitoring/ProcessorUsage", "Value", "true")]) == []


@pytest.mark.parametrize(("offset_s", "at_s"), [(0.0, NOW), (3600.0, NOW), (3600.0, NOW + 3600)])
def test_times_are_of_our_clock(offset_s: float, at_s: float) -> None:
    ((_, _, found),) = changes(EventStates(), [notice(MOTION, "IsMotion", "true", at_s=at_s)], offset_s)
    # Where the camera's clock contradicts itself, it is now.
    assert found == (at_s - offset_s if abs(at_s - offset_s - NOW) < 60 else NOW + 1)


def test_states_are_bounded() -> None:
    states = EventStates()
    many = [notice(MOTION, "IsMotion", "true", source=str(number)) for number in range(OPEN_MAX + 10)]
    assert len(changes(states, many)) == OPEN_MAX


def test_what_cannot_be_read_is_left_out() -> None:
    broken = [
        "<wsnt:NotificationMessage/>",
        "<wsnt:NotificationMessage><wsnt:Topic>a/b</wsnt:Topic></wsnt:NotificationMessage>",
    ]
    good = notification(MOTION, "IsMotion", "true", source="v1", kind="Changed", at_s=NOW).replace("UtcTime", "Other")
    (found,) = notices(*broken, good)
    assert found.at_s is None
    assert changes(EventStates(), [found]) == [("motion", True, NOW + 1)]


def test_reference_parameters_go_into_the_header_of_each_message() -> None:
    body = (
        "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa5:Address>http://h/events</wsa5:Address>"
        '<wsa5:ReferenceParameters><dom0:SubscriptionId xmlns:dom0="http://axis.com/a?b&amp;c">7&lt;8</dom0:SubscriptionId>'
        "</wsa5:ReferenceParameters></tev:SubscriptionReference></tev:CreatePullPointSubscriptionResponse>"
    )
    subscription = parse_subscription(parse_answer(ENVELOPE.format(body).encode(), "x"))
    assert subscription.address == "http://h/events"
    root = parse_xml(envelope(pull_messages(subscription), subscription.address))
    header = next(iter(root))
    assert text(header, "SubscriptionId") == "7<8"
    assert any(each.tag == "{http://axis.com/a?b&c}SubscriptionId" for each in header)


def test_an_answer_without_a_subscription_is_an_error() -> None:
    with pytest.raises(OnvifError, match="no subscription"):
        parse_subscription(parse_xml(b"<a/>"))
