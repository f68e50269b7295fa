import pytest

from paintsundo.data.art_sets import Subjects
from paintsundo.data.splits import is_test_subject, split_of
from paintsundo.data.subjects import subject_key, tones, without_tone


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


@pytest.mark.parametrize(
    ("key", "names"),
    [
        # OpenMoji and Twemoji, Noto's own files, Fluent's, a title of clip art, the character
        ("1F600", ["1F600", "1f600", "emoji_u1f600", "U+1F600", "grinning-face", "Grinning face", "😀"]),
        ("1F34E", ["1F34E", "1f34e", "red-apple", "Red Apple", "red_apple_flat", "Red Apple 3D"]),
        ("1F987", ["1F987", "bat", "Bat", "bat-default"]),
        ("2603", ["2603-FE0F", "2603", "emoji_u2603", "snowman", "Snowman", "☃️"]),
        ("1F44B", ["1F44B-1F3FB", "1f44b", "1f44b-1f3ff", "waving-hand-sign-dark-skin-tone", "👋🏽"]),
        ("1F469-200D-1F33E", ["1F469-1F3FF-200D-1F33E", "1f469-200d-1f33e", "emoji_u1f469_1f3fb_200d_1f33e", "👩‍🌾"]),
        ("0023-20E3", ["0023-FE0F-20E3", "23-20e3", "emoji_u0023_20e3"]),
        ("1F6A5", ["1f6a5", "horizontal-traffic-light"]),  # no skin tone
        ("4E00", ["04e00", "一", "4E00"]),  # KanjiVG, hanzi-writer
        ("1F3FB", ["1F3FB"]),  # a skin tone by itself
        ("my-old-hat", ["My_Old Hat", "my-old-hat", "my old hat!", "my-old-hat-default"]),
        ("womans-pinata", ["woman’s piñata", "Woman's Pinata"]),
        ("facade", ["facade", "Façade"]),  # hexadecimal digits, but a word
        ("img_0002".replace("_", "-"), ["IMG_0002"]),
    ],
)
def test_one_subject_has_one_key(key: str, names: list[str]) -> None:
    assert {subject_key(name) for name in names} == {key}
    assert subject_key(key) == key
    assert len({split_of("unreserved cat36", name) for name in names}) == 1


def test_different_subjects_have_different_keys() -> None:
    names = ["1F600", "1F601", "grinning-cat", "cat-face", "cat 1", "cat 2", "flat", "default", "猫", "犬", "?", "+"]
    assert len({subject_key(name) for name in names}) == len(names)
    assert "" not in map(subject_key, names)


@pytest.fixture
def subjects() -> Subjects:
    """What OpenMoji's and Noto's packages say."""
    found = Subjects()
    for name, code in {
        "mage": "1F9D9",
        "deaf man": "1F9CF-200D-2642-FE0F",
        "woman: blond hair": "1F471-200D-2640-FE0F",
        "people with bunny ears": "1F46F",
        "red heart": "2764-FE0F",
        "horizontal traffic light": "1F6A5",
        "flag: Réunion": "1F1F7-1F1EA",
    }.items():
        found.learn(name, code)
    return found


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("person-mage-medium-dark", "1F9D9"),
        ("person-mage-default", "1F9D9"),
        ("man-deaf-light", "1F9CF-200D-2642"),
        ("woman-blonde-hair", "1F471-200D-2640"),
        ("person-with-bunny-ears", "1F46F"),
        ("Red Heart", "2764"),
        ("horizontal-traffic-light", "1F6A5"),
        ("flag-reunion", "1F1F7-1F1EA"),
        ("hugging-face", "1F917"),  # Unicode's own name
        ("An old hat", "an-old-hat"),
    ],
)
def test_names_of_other_sets_find_their_code_points(subjects: Subjects, name: str, code: str) -> None:
    assert subjects.of_name(name) == code


def test_what_frozen_test_sets_show_is_for_tests_alone() -> None:
    from omegaconf import OmegaConf

    from paintsundo.settings import config_directory

    recipe = OmegaConf.load(config_directory() / "test_set" / "frozen.yaml")
    listed = list(recipe.subjects)
    assert len(listed) > 50
    assert all(subject_key(key) == key for key in listed)
    assert all(is_test_subject(key) for key in listed)
    assert all(split_of("any other file", key) == "test" for key in listed)
