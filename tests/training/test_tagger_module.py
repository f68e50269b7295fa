from pathlib import Path

import numpy as np
import torch
from PIL import Image

from paintsundo.checkpoints import load_tagger
from paintsundo.conditioning.tagger import Tagger
from paintsundo.training.bank import ProcessBank, to_signed
from paintsundo.training.banks import BankSet
from paintsundo.training.tagger import TaggerModule
from paintsundo.training.vocabulary import prompt_from_tags


def trained(bank: ProcessBank, steps: int) -> TaggerModule:
    torch.manual_seed(0)
    module = TaggerModule([8, 8], tag_count=20, picture_size=64)
    module.prepare(BankSet([bank]))
    optimizer = torch.optim.AdamW(module.parameters(), 0.01)
    batches = module.make_batches(bank, 8)
    for step in range(steps):
        batch = batches(torch.Generator().manual_seed(step))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            module.logits(batch["pictures"]), module.labels[batch["index"]]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module


def test_exported_tagger_gives_the_same_probabilities_and_learns(bank: ProcessBank, tmp_path: Path) -> None:
    module = trained(bank, 40)
    assert [name for name, _ in module.tags] == ["yellow", "blue", "face", "hat", "smile_(open)"]
    assert module.labels.tolist() == [[1, 0, 1, 0, 1], [1, 1, 0, 1, 0]]
    module.export(tmp_path, {}, bank)
    tagger = Tagger.from_pretrained(tmp_path)
    assert tagger.size == 64
    pictures = bank.states(torch.arange(2), torch.ones(2, 1))[:, 0]
    module.network.eval()
    with torch.no_grad():
        expected = module.logits(to_signed(pictures)).sigmoid().numpy()
    for row, picture in enumerate(pictures):
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        assert np.allclose(tagger.probabilities(image), expected[row], atol=1e-5)
        vocabulary = [name for name, _ in module.tags]
        assert tagger.tag(image) == prompt_from_tags(bank.metas[row]["tags"], vocabulary)
    assert load_tagger(tmp_path).tags == tagger.tags
