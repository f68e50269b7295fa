"""SVG geometry as polylines: path data, basic shapes and transforms (SVG 2, chapters 8, 9, 10)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Polyline = NDArray[np.float64]  # (N, 2) points x, y
Matrix = NDArray[np.float64]  # (2, 3) affine map

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(rf"[A-Za-z]|{_NUMBER}")
_NUMBER_RE = re.compile(_NUMBER)
_TRANSFORM = re.compile(r"(matrix|translate|scale|rotate|skewX|skewY)\s*\(([^)]*)\)")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
_STEPS = 8  # points per curve piece; pieces of icon-sized art are a few units long

_T = np.linspace(0, 1, _STEPS + 1)[1:]
_QUADRATIC = np.stack([(1 - _T) ** 2, 2 * _T * (1 - _T), _T**2], axis=1)  # Bernstein weights
_CUBIC = np.stack([(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3], axis=1)

IDENTITY: Matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def numbers(text: str) -> list[float]:
    """All numbers in an attribute value, units and separators ignored."""
    return [float(token) for token in _NUMBER_RE.findall(text)]


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """The map that applies `inner` first, then `outer`; both (2, 3)."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def apply(matrix: Matrix, points: Polyline) -> Polyline:
    """Points (N, 2) under an affine map (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def parse_transform(text: str) -> Matrix:
    """The value of a `transform` attribute as one matrix (2, 3). Raises ValueError on a malformed list."""
    matrix = IDENTITY
    for name, arguments in _TRANSFORM.findall(text):
        values = numbers(arguments)
        if name == "matrix":
            if len(values) != 6:
                raise ValueError("matrix() needs six numbers")
            a, b, c, d, e, f = values
            step = np.array([[a, c, e], [b, d, f]])
        elif name == "translate":
            step = np.array([[1, 0, values[0]], [0, 1, values[1] if len(values) > 1 else 0.0]])
        elif name == "scale":
            step = np.array([[values[0], 0, 0], [0, values[1] if len(values) > 1 else values[0], 0]])
        elif name == "rotate":
            turn = math.radians(values[0])
            cx, cy = (values[1], values[2]) if len(values) > 2 else (0.0, 0.0)
            c, s = math.cos(turn), math.sin(turn)
            step = np.array([[c, -s, cx - c * cx + s * cy], [s, c, cy - s * cx - c * cy]])
        else:
            skew = math.tan(math.radians(values[0]))
            step = np.array([[1, skew, 0], [0, 1, 0]] if name == "skewX" else [[1, 0, 0], [skew, 1, 0]])
        matrix = compose(matrix, step.astype(np.float64))
    return matrix


def _bezier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points on a quadratic or cubic Bezier curve after its first control point."""
    curve = (_CUBIC if len(points) == 4 else _QUADRATIC) @ np.array(points)
    return [(x, y) for x, y in curve.tolist()]


def _arc(start: tuple[float, float], values: list[float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Points on an elliptical arc after its start (SVG 2, B.2.4: endpoint to centre parametrisation)."""
    rx, ry, rotation, large, sweep = (
        abs(values[0]),
        abs(values[1]),
        math.radians(values[2]),
        values[3],
        values[4],
    )
    if rx == 0 or ry == 0 or start == end:
        return [end]
    c, s = math.cos(rotation), math.sin(rotation)
    dx, dy = (start[0] - end[0]) / 2, (start[1] - end[1]) / 2
    x1, y1 = c * dx + s * dy, -s * dx + c * dy
    grow = (x1 / rx) ** 2 + (y1 / ry) ** 2
    if grow > 1:
        rx, ry = rx * math.sqrt(grow), ry * math.sqrt(grow)
    rest = (rx * ry) ** 2 - (rx * y1) ** 2 - (ry * x1) ** 2
    factor = math.sqrt(max(0.0, rest) / ((rx * y1) ** 2 + (ry * x1) ** 2))
    if bool(large) == bool(sweep):
        factor = -factor
    cx, cy = factor * rx * y1 / ry, -factor * ry * x1 / rx
    first = math.atan2((y1 - cy) / ry, (x1 - cx) / rx)
    turn = math.atan2((-y1 - cy) / ry, (-x1 - cx) / rx) - first
    if sweep and turn < 0:
        turn += 2 * math.pi
    elif not sweep and turn > 0:
        turn -= 2 * math.pi
    mx, my = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    count = max(2, math.ceil(abs(turn) / 0.3))
    points = []
    for k in range(1, count + 1):
        angle = first + turn * k / count
        x, y = cx + rx * math.cos(angle), cy + ry * math.sin(angle)
        points.append((c * x - s * y + mx, s * x + c * y + my))
    return points


def _split_flags(tokens: list[str], at: int) -> None:
    """Arc flags may be written without separators (`a1 1 0 01.5.5`): split the glued tokens in place."""
    for position in (at + 3, at + 4):
        token = tokens[position] if position < len(tokens) else ""
        if len(token) > 1 and token[0] in "01":
            tokens[position : position + 1] = [token[0], token[1:]]


def parse_path(data: str) -> list[Polyline]:
    """Path data as polylines, one per subpath; closed subpaths end at their first point.

    Reading stops at the first error, as SVG asks of renderers.
    """
    tokens = _TOKEN.findall(data)
    lines: list[list[tuple[float, float]]] = []
    line: list[tuple[float, float]] = []
    here, start = (0.0, 0.0), (0.0, 0.0)
    control: tuple[float, float] | None = None
    command, previous, at = "", "", 0
    while at < len(tokens):
        if tokens[at].isalpha():
            command, at = tokens[at], at + 1
            if command.upper() not in _ARGUMENTS:
                break
        elif command in ("M", "m"):
            command = "L" if command == "M" else "l"
        elif not command or command in "Zz":
            break
        kind, relative = command.upper(), command.islower()
        if kind == "A":
            _split_flags(tokens, at)
        count = _ARGUMENTS[kind]
        raw = tokens[at : at + count]
        if len(raw) < count or any(token.isalpha() for token in raw):
            break
        values, at = [float(token) for token in raw], at + count
        ox, oy = here if relative else (0.0, 0.0)
        if kind == "Z":
            if line:
                line.append(start)
            here = start
        elif kind == "M":
            if len(line) > 1:
                lines.append(line)
            here = start = (values[0] + ox, values[1] + oy)
            line = [here]
        else:
            if not line or previous == "Z":
                if len(line) > 1:
                    lines.append(line)
                line, start = [here], here
            if kind == "A":
                end = (values[5] + ox, values[6] + oy)
                line.extend(_arc(here, values, end))
                here = end
            elif kind in "LHV":
                here = (
                    here[0] if kind == "V" else values[0] + ox,
                    here[1] if kind == "H" else values[-1] + oy,
                )
                line.append(here)
            else:
                points = [(values[k] + ox, values[k + 1] + oy) for k in range(0, count, 2)]
                if kind in "ST":
                    smooth = control is not None and previous in ("CS" if kind == "S" else "QT")
                    points.insert(
                        0,
                        (2 * here[0] - control[0], 2 * here[1] - control[1]) if smooth and control else here,
                    )
                line.extend(_bezier([here, *points]))
                control, here = points[-2], points[-1]
        previous = kind
    if len(line) > 1:
        lines.append(line)
    return [np.array(points) for points in lines]


def _ellipse(cx: float, cy: float, rx: float, ry: float) -> Polyline:
    turn = np.linspace(0, 2 * np.pi, 49)
    return np.column_stack([cx + rx * np.cos(turn), cy + ry * np.sin(turn)])


def outline(tag: str, attributes: Mapping[str, str]) -> list[Polyline]:
    """The geometry of a drawable element in its own coordinates; empty for what has none."""

    def value(name: str, default: float = 0.0) -> float:
        found = numbers(attributes.get(name, ""))
        return found[0] if found else default

    if tag == "path":
        return parse_path(attributes.get("d", ""))
    if tag == "rect":
        x, y, w, h = value("x"), value("y"), value("width"), value("height")
        return [np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]])] if w > 0 and h > 0 else []
    if tag == "circle":
        return [_ellipse(value("cx"), value("cy"), value("r"), value("r"))] if value("r") > 0 else []
    if tag == "ellipse":
        rx, ry = value("rx"), value("ry")
        return [_ellipse(value("cx"), value("cy"), rx, ry)] if rx > 0 and ry > 0 else []
    if tag == "line":
        return [np.array([[value("x1"), value("y1")], [value("x2"), value("y2")]])]
    if tag in ("polyline", "polygon"):
        flat = numbers(attributes.get("points", ""))
        points = np.array(flat[: len(flat) // 2 * 2]).reshape(-1, 2)
        if len(points) < 2:
            return []
        return [np.vstack([points, points[:1]]) if tag == "polygon" else points]
    return []


def area(lines: list[Polyline]) -> float:
    """Absolute enclosed area of subpaths taken together (holes wound the other way are subtracted)."""
    total = 0.0
    for points in lines:
        x, y = points[:, 0], points[:, 1]
        total += float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return abs(total)


def length(lines: list[Polyline]) -> float:
    """Total length of polylines."""
    return float(sum(np.hypot(*np.diff(points, axis=0).T).sum() for points in lines))
