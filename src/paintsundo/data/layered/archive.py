"""Zip archives and XML of unknown origin (OpenRaster, Krita), read in memory and never unpacked to a disk."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import PurePosixPath
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

from paintsundo.data.layered.limits import Limits
from paintsundo.data.source import Unusable

RATIO = 1100  # deflate cannot pack better
SLACK = 1 << 20
XML_BYTES = 32 << 20


class Archive:
    """The members of a zip archive, each read whole and at most as large as the directory says.

    Raises Unusable for what is no archive, and for members that lead out of it, are missing, damaged or larger than the
    limits allow.
    """

    def __init__(self, stream: BinaryIO, limits: Limits):
        try:
            self._zip = zipfile.ZipFile(stream)
            members = self._zip.infolist()
        except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
            raise Unusable(f"no readable archive: {error}") from error
        if len(members) > 20 * limits.layers:
            raise Unusable(f"an archive of {len(members)} members")
        for member in members:
            check_name(member.filename)
        self._members = {member.filename: member for member in members}
        unpacked = sum(member.file_size for member in members)
        limits.check_bytes(unpacked)
        packed = sum(member.compress_size for member in members)
        if unpacked > RATIO * packed + SLACK:
            raise Unusable(f"an archive of {packed} bytes that says it unpacks to {unpacked}")

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> list[str]:
        """Of all members, in the archive's order."""
        return list(self._members)

    def read(self, name: str, most: int | None = None) -> bytes:
        """A member's bytes, at most `most` of them. Raises Unusable."""
        check_name(name)
        member = self._members.get(name)
        if member is None:
            raise Unusable(f"{name!r} is missing in the archive")
        if most is not None and member.file_size > most:
            raise Unusable(f"{name!r} unpacks to {member.file_size} bytes, more than {most}")
        if member.flag_bits & 1:
            raise Unusable(f"{name!r} is encrypted")
        try:
            with self._zip.open(member) as stream:
                data = stream.read(member.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
            raise Unusable(f"{name!r} in the archive is damaged: {error}") from error
        if len(data) != member.file_size:
            raise Unusable(f"{name!r} in the archive is not as long as it says")
        return data


def check_name(name: str) -> None:
    """Raises Unusable for a name that leads out of the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and ":" in path.parts[0]):
        raise Unusable(f"{name!r} leads out of the archive")


def parse_xml(data: bytes, limits: Limits) -> ElementTree.Element:
    """The root of an XML document without entities, not too large and not too deep. Raises Unusable."""
    if len(data) > XML_BYTES:
        raise Unusable(f"XML of {len(data)} bytes")
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > 4 * limits.depth + 20:  # a group takes two elements
            raise Unusable(f"groups nested more than {limits.depth} deep")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise Unusable("XML that declares entities")

    checker = expat.ParserCreate()
    checker.StartElementHandler, checker.EndElementHandler = begin, end
    checker.EntityDeclHandler = refuse
    try:
        checker.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, ValueError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"no readable XML: {error}") from error


def number(element: ElementTree.Element, name: str, otherwise: float) -> float:
    """A numeric attribute. Raises Unusable for what is no finite number."""
    text = element.get(name)
    if text is None or text == "":
        return otherwise
    try:
        value = float(text)
    except ValueError as error:
        raise Unusable(f"{name}={text!r} is no number") from error
    if not abs(value) < 1e9:
        raise Unusable(f"{name}={text!r} is no number")
    return value


def whole(element: ElementTree.Element, name: str, otherwise: int) -> int:
    """An attribute as a whole number. Raises Unusable."""
    return round(number(element, name, otherwise))
