"""Accept, as clients write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.api.accept import Accept


@pytest.mark.parametrize(
    ("fields", "allows", "names"),
    [
        ([], True, False),
        ([""], True, False),
        ([" , "], True, False),
        (["*/*"], True, False),
        (["application/*;q=0.1"], True, False),
        (["Application/SDP"], True, True),
        (["text/html, application/sdp;q=0.1"], True, True),
        (["text/html", "application/sdp"], True, True),
        (["application/sdp;level=1"], True, True),
        (['text/plain;x="a, application/sdp"'], False, False),
        (["application/sdp;q=1.5"], True, True),
        (["application/sdp;q=0.001"], True, True),
        (["application/sdp;q=0"], False, False),
        (["application/sdp ; Q=0.000"], False, False),
        (["*/*, application/sdp;q=0"], False, False),
        (["application/sdp;q=0, */*"], False, False),
        (["application/*;q=0, */*"], False, False),
        (["*/*;q=0"], False, False),
        (["*/*;q=0, application/*"], True, False),
        (["text/html"], False, False),
        (['"broken, application/sdp'], True, True),
    ],
)
def test_what_a_client_accepts(fields: list[str], allows: bool, names: bool) -> None:
    accept = Accept(fields)
    assert accept.allows("application/sdp") is allows
    assert accept.names("application/sdp") is names


@given(st.text(alphabet='a/*;q=0."\\, \t', max_size=30))
def test_any_text_is_read(text: str) -> None:
    Accept([text]).allows("application/sdp")
