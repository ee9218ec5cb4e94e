"""The order of the files: complete, mixed, and the same in each worker."""

from collections import Counter
from pathlib import Path

from tests.support.order import LONG_S, kind_of, mixed

FILES = {
    **{f"browser/test_{number}.py": ["browser"] * (1 + number % 3) for number in range(20)},
    **{f"integration/test_{number}.py": ["integration", "unit"] for number in range(40)},
    **{f"gateway/test_{number}.py": ["unit"] * 30 for number in range(100)},
}


def test_each_file_is_there_once_in_any_order_of_collection() -> None:
    order = mixed(FILES)
    assert Counter(order) == Counter(FILES.keys())
    assert mixed(dict(reversed(FILES.items()))) == order


def test_each_half_has_its_share_of_each_kind_and_browsers_do_not_end_the_run() -> None:
    order = mixed(FILES)
    kinds = [kind_of(set(FILES[path])) for path in order]
    for kind, count in Counter(kinds).items():
        assert count * 0.3 <= kinds[: len(kinds) // 2].count(kind) <= count * 0.7, kind
    assert set(kinds[-5:]) == {"unit"}


def test_the_long_files_exist() -> None:
    missing = [path for path in LONG_S if not (Path(__file__).parent / path).is_file()]
    assert not missing, "tests.support.order names them"
