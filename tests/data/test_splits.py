import hashlib

from paintsundo.data.splits import RESERVED, is_reserved, is_test_subject, split_of, split_of_subject
from paintsundo.data.subjects import subject_key


def test_reserved_is_the_last_digit_of_the_hash_of_the_lower_case_stem() -> None:
    for stem in ("1F600", "red-apple", "Été", "hat", "cat37"):
        expected = hashlib.sha256(stem.lower().encode()).hexdigest()[-1] == "0"
        assert is_reserved(stem) == expected == is_reserved(stem.upper())
    assert is_reserved("cat37")
    assert not is_reserved("cat36")


def test_splits_go_by_subject() -> None:
    subjects = [f"subject {k}" for k in range(800)]
    splits = [split_of("cat36", subject) for subject in subjects]
    assert splits == [split_of("cat35", subject) for subject in subjects]
    assert 20 <= splits.count("validation") <= 90
    assert 20 <= splits.count("test") <= 90
    assert set(splits) == {"train", "validation", "test"}
    assert all(is_reserved(subject_key(s)) == (split == "test") for s, split in zip(subjects, splits, strict=True))


def test_reserved_files_are_of_the_test_split_only_if_their_subjects_are() -> None:
    assert split_of("cat37", "cat37") == "test"
    assert split_of("cat37", "cat36") == RESERVED  # other files of this subject are trained on
    assert split_of("cat36", "cat37") == "test"
    assert is_test_subject("CAT37")


def test_seeds_draw_other_shares() -> None:
    subjects = [f"subject {k}" for k in range(400)]
    first, again, other = ([split_of_subject(s, 0.25, 0.25, seed) for s in subjects] for seed in (1, 1, 2))
    assert first == again != other
    assert all(70 <= first.count(split) <= 130 for split in ("validation", "test"))
    assert [split_of_subject(s, 0.25) for s in subjects] == [split_of_subject(s.upper(), 0.25) for s in subjects]
