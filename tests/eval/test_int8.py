"""Linear layers in 8-bit integers, measured: on small random models."""

import json

import pytest
import torch
from torch import nn

from paintsundo.errors import UserError
from random_checkpoint import write_checkpoint

SMALL = "overrides=[keyframes.width=40,keyframes.height=48,'video.buckets=[[24,16]]']"


def test_every_network_is_measured_each_way(tmp_path, capsys):
    import int8

    write_checkpoint(tmp_path / "models")
    int8.main([f"models={tmp_path / 'models'}", f"output={tmp_path / 'out'}", "repeats=1", SMALL])
    report = json.loads((tmp_path / "out" / "int8.json").read_text(encoding="utf-8"))
    assert [row["name"].partition(",")[0] for row in report["rows"]] == ["keyframe UNet", "video UNet", "image encoder"]
    for row in report["rows"]:
        assert all(row["seconds"][kind] > 0 for kind in int8.KINDS)
        assert row["errors"]["float32"] == 0
        assert 1e-4 < row["errors"]["int8"] < 0.5
        assert 1e-4 < row["errors"]["bfloat16"] < 0.5
        assert 0 < row["linear_share"] < 1
    table = (tmp_path / "out" / "int8.md").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out + "\n"
    assert "video UNet" in table


def test_only_the_copy_is_in_integers():
    import int8

    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    other = int8.quantised(network)
    assert [type(layer) for layer in network] == [nn.Linear, nn.ReLU, nn.Linear]
    assert not any(type(layer) is nn.Linear for layer in other)
    given = torch.randn(4, 8)
    assert 0 < (other(given) - network(given)).abs().max() < 0.2


def test_mistakes_are_one_line(tmp_path):
    import int8

    with pytest.raises(UserError, match="repeats=0: at least 1"):
        int8.main([f"output={tmp_path}", "repeats=0"])
