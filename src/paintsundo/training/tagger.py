"""Lightning module of a small tagger, exported to the WD14 interface (ONNX, BGR 0–255 NHWC in, probabilities out)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paintsundo.training.bank import ProcessBank
from paintsundo.training.banks import BankSet
from paintsundo.training.batches import StatePictures
from paintsundo.training.module import PaintsUndoModule
from paintsundo.training.vocabulary import most_frequent_tags, write_tags


class TaggerNetwork(nn.Module):
    """Strided convolutions, global mean and maximum, a linear layer.

    Args:
        widths: channels after each stride-2 stage.
        tags: number of tags.
    """

    def __init__(self, widths: list[int], tags: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for width in widths:
            layers += [nn.Conv2d(previous, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.SiLU()]
            previous = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * previous, tags)

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8-valued float BGR (B, H, W, 3) in 0…255 → logits (B, tags)."""
        x = self.features(pictures.permute(0, 3, 1, 2) / 127.5 - 1.0)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))


class _Probabilities(nn.Module):
    def __init__(self, network: TaggerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.sigmoid(self.network(pictures))


class TaggerModule(PaintsUndoModule):
    """Trains the tagger on finished pictures and their tags (binary cross-entropy).

    Args:
        widths: channels of each stage.
        tag_count: size of the vocabulary, the most frequent tags of the training data.
        picture_size: side of the square input in pixels.
    """

    def __init__(self, widths: list[int], tag_count: int = 160, picture_size: int = 128) -> None:
        super().__init__()
        self.widths, self.tag_count, self.picture_size = list(widths), tag_count, picture_size
        self.network = TaggerNetwork(self.widths, tag_count)

    def trained_networks(self) -> list[nn.Module]:
        return [self.network]

    def prepare(self, train: BankSet) -> None:
        self.tags = most_frequent_tags(train.metas, self.tag_count)
        if len(self.tags) < self.tag_count:
            self.network.head = nn.Linear(self.network.head.in_features, len(self.tags))
        self.labels = self.labels_of(train).to(train.device)

    def labels_of(self, bank: ProcessBank | BankSet) -> Tensor:
        """float (P, tags) of 0 and 1."""
        column = {name: number for number, (name, _) in enumerate(self.tags)}
        labels = torch.zeros(len(bank.metas), len(self.tags))
        for row, meta in enumerate(bank.metas):
            for tag in meta.get("tags", []):
                if tag in column:
                    labels[row, column[tag]] = 1.0
        return labels

    def make_batches(self, bank: ProcessBank, batch_size: int) -> StatePictures:
        return StatePictures(bank, batch_size, finished=1.0, permute=0.1)

    def logits(self, signed: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in [−1, 1] → logits, through the interface of the exported file."""
        small = F.interpolate(signed, (self.picture_size,) * 2, mode="bilinear", antialias=True)
        return self.network((small.flip(1) * 127.5 + 127.5).permute(0, 2, 3, 1))

    def step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(self.logits(batch["pictures"]), self.labels[batch["index"]])
        self.record({"loss": loss})
        return loss

    @torch.no_grad()
    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        """The pictures themselves, and on held-out data the mean precision and recall at 0.35."""
        self.network.eval()
        index = torch.arange(min(len(bank), 512), device=bank.device)
        pictures = bank.states(index, torch.ones(len(index), 1, device=bank.device))[:, 0]
        given = torch.cat([self.logits(p.float() / 127.5 - 1.0) for p in pictures.split(64)]).sigmoid() > 0.35
        truth = self.labels_of(bank)[: len(index)].to(bank.device) > 0.5
        hits = (given & truth).sum().item()
        figures = {
            "precision": hits / max(1, given.sum().item()),
            "recall": hits / max(1, truth.sum().item()),
        }
        self.network.train()
        return pictures[:count, None], figures

    @torch.no_grad()
    def export(self, folder: Path, state: Mapping[str, Tensor], bank: ProcessBank | None) -> None:
        """Write `model.onnx` and `selected_tags.csv`."""
        self.load_state_dict(state, strict=False)
        folder.mkdir(parents=True, exist_ok=True)
        network = _Probabilities(self.network).eval().cpu().float()
        example = torch.zeros(1, self.picture_size, self.picture_size, 3)
        torch.onnx.export(
            network,
            (example,),
            str(folder / "model.onnx"),
            input_names=["input"],
            output_names=["predictions"],
            opset_version=17,
            dynamo=False,
        )
        write_tags(self.tags, folder / "selected_tags.csv")
