"""What a file shows, as one key whatever the set and however it is named there."""

from __future__ import annotations

import re
import unicodedata

SKIN_TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
_WORD = r"-(?:medium-light|medium-dark|light|medium|dark)(?:-skin-tone)?"
TONE = re.compile(rf"-?1f3f[b-f]|{_WORD}(?=(?:{_WORD})*$)", re.I)  # code points, or words ending a name
_VARIATION = re.compile(r"-?\bfe0[ef]\b", re.I)
_CODE = re.compile(r"(?:emoji[ _-]?)?(?:u\+?)?([0-9a-f]{4,6}(?:[ _-](?:u\+?)?[0-9a-f]{2,6})*)", re.I)
_KEYCAP = re.compile(r"([0-9a-f]{2}(?:[ _-]fe0f)?[ _-]20e3)", re.I)
_STYLE = re.compile(r"(?<=\w)-(?:default|flat|modern|3d|colou?r|high-contrast)$")
_SYMBOLS = ("So", "Sk", "Sm", "Sc", "Cf", "Mn", "Me", "Po", "Nd")


def without_tone(name: str) -> str:
    """A code point sequence or name without its skin tones: variants of one subject share it."""
    return TONE.sub("", name).strip("-_ ")


def tones(name: str) -> int:
    """How many skin tones a code point sequence or name holds."""
    return len(TONE.findall(name))


def code_key(code: str) -> str:
    """The key of code points in hexadecimal, joined by hyphens: upper case of four digits and more, without variation
    selectors and skin tones.
    """
    plain = _VARIATION.sub("", code)
    parts = (without_tone(plain) or plain).strip("-").split("-")
    return "-".join(f"{int(part, 16):04X}" for part in parts if part)


def name_key(name: str) -> str:
    """A name in lower case with hyphens between its words: no accents, apostrophes, other signs or style suffixes."""
    plain = re.sub(r"[\u0300-\u036f'’]", "", unicodedata.normalize("NFKD", name)).lower()
    key = "-".join(re.findall(r"\w+", plain.replace("_", " ")))
    while (shorter := _STYLE.sub("", key)) != key:
        key = shorter
    return key


def subject_key(subject: str) -> str:
    """The key by which splits go: equal for a code point sequence ("1F44B-1F3FB", "emoji_u1f44b"), the characters
    themselves, their Unicode name ("Waving Hand Sign") and variants of skin tone or style; for other names `name_key`.
    Never empty for a subject that is not.
    """
    text = subject.strip()
    characters = _characters(text)
    if characters:
        return characters
    found = _CODE.fullmatch(text) or _KEYCAP.fullmatch(text)
    if found and re.search(r"\d", found[1]):  # else a word such as "facade"
        code = re.sub(r"[ _]", "-", found[1].lower().replace("u+", "").replace("u", ""))
        if all(int(part, 16) <= 0x10FFFF for part in code.split("-")):
            return code_key(code)
    name = name_key(text)
    for plain in (name, without_tone(name)):  # some end in such a word: "traffic light"
        character = _named(plain)
        if character:
            return f"{ord(character):04X}"
    return without_tone(name) or name or text


def _characters(text: str) -> str:
    """The key of a text that is one character beyond ASCII, or symbols alone; "" for any other."""
    kinds = [unicodedata.category(character) for character in text]
    single = len(text) == 1 and not text.isascii()
    if single or ("So" in kinds and all(kind in _SYMBOLS for kind in kinds)):
        return code_key("-".join(f"{ord(character):04x}" for character in text))
    return ""


def _named(name: str) -> str:
    """The symbol of this Unicode name, or ""."""
    try:
        found = unicodedata.lookup(name.replace("-", " "))
    except KeyError:
        return ""
    return found if len(found) == 1 and unicodedata.category(found) in ("So", "Sm", "Sk") else ""
