"""Frames between the ends of a training clip, in any order."""

import pytest
import torch

from paintsundo.training.video_autoencoder import VideoAutoencoderModule, shuffled_between


def test_ends_stay_and_every_clip_has_an_order_of_its_own():
    torch.manual_seed(0)
    clips = torch.rand(8, 3, 6, 4, 4)
    found = shuffled_between(clips)
    assert torch.equal(found[:, :, [0, -1]], clips[:, :, [0, -1]])
    orders = set()
    for before, after in zip(clips, found, strict=True):
        order = [int((before == after[:, t : t + 1]).flatten(2).all(2).all(0).nonzero()) for t in range(6)]
        assert sorted(order) == list(range(6))
        orders.add(tuple(order))
    assert len(orders) > 3


@pytest.mark.parametrize("shuffle", [False, True])
def test_only_the_option_shuffles(shuffle, monkeypatch):
    import paintsundo.training.video_autoencoder as room

    asked = []
    monkeypatch.setattr(room, "shuffled_between", lambda clips: asked.append(clips.shape) or clips)
    network = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "norm_num_groups": 4, "combiner_levels": [1]}
    network |= {"combiner_heads": 2, "combiner_head_dim": 4}
    module = VideoAutoencoderModule(network, frames=4, shuffle_places=shuffle)
    monkeypatch.setattr(module, "record", lambda figures: None)
    loss = module.step({"clips": torch.rand(2, 4, 3, 16, 16).mul(255).byte()}, 0)
    assert torch.isfinite(loss)
    assert asked == ([torch.Size([2, 3, 4, 16, 16])] if shuffle else [])
