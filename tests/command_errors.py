"""The one line with which a command ends on a mistake."""

import pytest


def one_line_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The error on stderr, which must be a single line without a traceback."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]
