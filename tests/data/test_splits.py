import hashlib

import pytest

from paintsundo.data.splits import is_reserved, split_of, tones, without_tone


def test_reserved_is_the_last_digit_of_the_hash_of_the_lower_case_stem() -> None:
    for stem in ("1F600", "red-apple", "Été", "hat", "cat37"):
        expected = hashlib.sha256(stem.lower().encode()).hexdigest()[-1] == "0"
        assert is_reserved(stem) == expected == is_reserved(stem.upper())
    assert is_reserved("cat37")
    assert not is_reserved("cat36")


def test_splits_go_by_subject() -> None:
    subjects = [f"subject {k}" for k in range(400)]
    splits = [split_of("cat36", subject) for subject in subjects]
    assert splits == [split_of("cat35", subject) for subject in subjects]
    assert 10 <= splits.count("validation") <= 45
    assert set(splits) == {"train", "validation"}
    assert split_of("cat37", "subject 1") == "test"


@pytest.mark.parametrize(
    ("name", "plain", "count"),
    [
        ("1F469-1F3FB-200D-1F33E", "1F469-200D-1F33E", 1),
        ("woman-dark-skin-tone", "woman", 1),
        ("person-medium-light", "person", 1),
        ("women-wrestling-medium-dark-skin-tone-dark-skin-tone", "women-wrestling", 2),
        ("white-medium-square", "white-medium-square", 0),
        ("light-bulb", "light-bulb", 0),
    ],
)
def test_skin_tones(name: str, plain: str, count: int) -> None:
    assert without_tone(name) == plain
    assert tones(name) == count
