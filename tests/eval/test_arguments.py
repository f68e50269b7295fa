"""Arguments of the evaluations."""

from dataclasses import dataclass, field

import pytest
from omegaconf import MISSING

from paintsundo.errors import UserError


@dataclass
class Given:
    output: str = MISSING
    overrides: list[str] = field(default_factory=list)


def test_values_are_typed_and_folders_taken_as_they_stand():
    from support.arguments import parse

    found = parse(Given, ["output=a[b],c", "overrides=[a=1,'b=[1,2]']"], literal_keys=("output",))
    assert (found.output, found.overrides) == ("a[b],c", ["a=1", "b=[1,2]"])


@pytest.mark.parametrize("value", ["[a=1,b=[1,2]]", "[a", "{a: [}"])
def test_what_is_no_list_is_told_in_a_line(value):
    from support.arguments import parse

    with pytest.raises(UserError, match=r"^overrides cannot be read: quote") as refusal:
        parse(Given, ["output=x", f"overrides={value}"], literal_keys=("output",))
    assert "\n" not in str(refusal.value)
