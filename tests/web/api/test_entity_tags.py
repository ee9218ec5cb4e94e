"""Lists of entity tags, as clients and proxies write them."""

import pytest

from web.api.entity_tags import is_listed


@pytest.mark.parametrize(
    ("fields", "strong", "weak"),
    [
        (['"tag"'], True, True),
        (['W/"tag"'], False, True),
        (['"other"', '"tag"'], True, True),
        ([', "tag"'], True, True),
        (['"other",, "tag" ,'], True, True),
        (['"", "tag"'], True, True),
        (['"a,b", "tag"'], True, True),
        (["*"], True, True),
        ([" * "], True, True),
        (['"*"'], False, False),
        (['*, "other"'], False, False),
        (["tag"], False, False),
        (['"other" "tag"'], False, False),
        (['"ta', 'g"'], False, False),
        (['w/"tag"'], False, False),
        ([""], False, False),
        ([], False, False),
    ],
)
def test_a_tag_is_found_in_a_list(fields: list[str], strong: bool, weak: bool) -> None:
    assert is_listed(fields, "tag", is_weak_allowed=False) is strong
    assert is_listed(fields, "tag", is_weak_allowed=True) is weak
