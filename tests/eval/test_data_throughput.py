import json
from pathlib import Path

import pytest
from support.data_throughput import main

from paintsundo.errors import UserError

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'


def test_speed_and_memory_are_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for number in range(9):
        circle = f'<circle cx="32" cy="{20 + number}" r="20" fill="#a03"/>'
        art = f'{HEAD}{circle}<rect x="9" y="9" width="20" height="{9 + number}"/></svg>'
        (tmp_path / "in" / f"art{number}.svg").write_text(art)
    words = ["sources=[svg]", "cores=[1]", "records=3", "size=64", "memory_records=8", "memory_cores=1"]
    assert main([f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", *words]) == 0
    found = json.loads((tmp_path / "out" / "throughput.json").read_text())
    (speed,) = found["speed"]
    assert speed["records"] + speed["rejected"] == 3
    assert speed["records_per_second"] > 0
    assert speed["megabytes_per_second"] > 0
    assert speed["processor_seconds_per_record"] > 0
    assert all(each["all_together"] > each["parent"] > 20 for each in found["memory"])
    text = (tmp_path / "out" / "throughput.md").read_text()
    assert "| svg" in text
    assert text.strip() == capsys.readouterr().out.strip()
    assert not (tmp_path / "out" / "dataset").exists()
    with pytest.raises(UserError, match="at least 1"):
        main([f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "records=0"])
