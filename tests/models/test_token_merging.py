"""Tokens merged before self-attention and parted after it (Bolya and Hoffman 2023)."""

import copy
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from small_networks import CASES
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from paintsundo.models import SingleFrameUNet, UNet3DModel, token_merging, use_channels_last
from paintsundo.models.fused import set_fused
from paintsundo.models.token_merging import Merge, set_token_merging
from paintsundo.pipelines.memory_needs import shape_twin
from paintsundo.settings import config_directory

SIZES = [(8, 12), (7, 5), (1, 9), (6, 1), (1, 1), (2, 2)]
SHARES = [0.1, 0.5, 0.75]
NETWORKS = ["single_frame_unet", "unet_3d"]


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


def tokens(size: tuple[int, int], rows: int = 3, width: int = 10) -> Tensor:
    return torch.randn(rows, size[0] * size[1], width, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("size", SIZES)
def test_nothing_merged_is_an_order_that_is_undone(size: tuple[int, int]) -> None:
    given = tokens(size)
    merge = Merge(given, size, 0.0)
    assert merge.merge(given).shape == given.shape
    assert torch.equal(merge.unmerge(merge.merge(given)), given)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_tokens_stay_exactly_as_they_are(size: tuple[int, int], share: float, dtype: torch.dtype) -> None:
    given = tokens(size)[:, :1].expand(-1, size[0] * size[1], -1).to(dtype)
    merge = Merge(given, size, share)
    merged = merge.merge(given)
    assert merged.shape[1] == given.shape[1] - merge.count
    assert torch.equal(merged, given[:, : merged.shape[1]])
    assert torch.equal(merge.unmerge(merged), given)


@pytest.mark.parametrize("size", [(8, 12), (7, 5)])
@pytest.mark.parametrize("share", SHARES)
def test_each_token_is_in_one_place_and_its_group_becomes_the_mean(size: tuple[int, int], share: float) -> None:
    given = tokens(size)
    merge = Merge(given, size, share)
    merged, count = merge.merge(given), size[0] * size[1]
    corners = sum(1 for y in range(0, size[0], 2) for _ in range(0, size[1], 2))
    assert merged.shape[1] == count - min(int(share * count), count - corners)
    place = merge.unmerge(torch.arange(merged.shape[1])[None, :, None].expand(3, -1, 1))[..., 0]
    for row in range(3):
        assert place[row].unique().tolist() == list(range(merged.shape[1]))
        for group in range(merged.shape[1]):
            members = given[row, place[row] == group]
            torch.testing.assert_close(merged[row, group], members.mean(0))
            assert (members.shape[0] == 1) or group < corners


def test_the_most_alike_go_first() -> None:
    """Two colours in columns: what is merged lies in its own colour's destination, however little is merged."""
    size = (6, 8)
    colours = torch.eye(4)[torch.arange(8) // 2 % 2].expand(6, 8, 4).reshape(1, 48, 4)
    noisy = colours + 0.01 * tokens(size, 1, 4)
    merge = Merge(noisy, size, 0.5)
    found = merge.unmerge(merge.merge(noisy))
    assert (found - noisy).abs().max() < 0.1
    odd = noisy.clone()
    odd[0, 9] = -5.0  # no destination (second row), like none of them
    merge = Merge(odd, size, 0.5)
    assert torch.equal(merge.unmerge(merge.merge(odd))[0, 9], odd[0, 9])


def test_frames_of_a_clip_merge_the_same_places() -> None:
    """Those that are most alike in all frames together; another clip has its own."""
    given = tokens((8, 12), rows=6)
    merge = Merge(given, (8, 12), 0.4, frames=3)
    place = merge.unmerge(torch.arange(96 - merge.count)[None, :, None].expand(6, -1, 1))[..., 0]
    for row in (1, 2):
        assert torch.equal(place[row], place[0])
        assert torch.equal(place[3 + row], place[3])
    assert not torch.equal(place[0], place[3])
    still = given[:1].repeat(3, 1, 1)
    alone, clip = Merge(given[:1], (8, 12), 0.4), Merge(still, (8, 12), 0.4, frames=3)
    assert torch.equal(clip.merge(still)[2], alone.merge(given[:1])[0])


def test_pieces_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tokens((8, 12), rows=5)
    whole = Merge(given, (8, 12), 0.5)
    monkeypatch.setattr(token_merging, "_MOST_SCORES", 2 * 72 * 24)
    pieces = Merge(given, (8, 12), 0.5)
    assert torch.equal(whole.gone, pieces.gone)
    assert torch.equal(whole.target, pieces.target)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("fast", [False, True])
def test_zero_is_the_network_itself(name: str, fast: bool) -> None:
    case = CASES[name]
    network = case.network()
    if fast:
        use_channels_last(network)
        if isinstance(network, SingleFrameUNet):
            network.repeat_rows()
        set_fused(network, True)
    expected = case(network)
    set_token_merging(network, 0.0)
    assert torch.equal(case(network), expected)
    set_token_merging(network, 0.5)
    merged = case(network)
    assert merged.shape == expected.shape
    error = ((merged - expected).norm() / expected.norm()).item()
    assert 1e-4 < error < 0.5
    set_token_merging(network, 0.5)
    assert torch.equal(case(network), merged)  # the same each time
    assert torch.equal(case(copy.deepcopy(network)), merged)
    set_token_merging(network, 0.0)
    assert torch.equal(case(network), expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_fast_forms_merge_the_same(name: str) -> None:
    case = CASES[name]
    plain, fast = case.network(), use_channels_last(case.network())
    if isinstance(fast, SingleFrameUNet):
        fast.repeat_rows()
    set_fused(fast, True)
    for network in (plain, fast):
        set_token_merging(network, 0.3)
    torch.testing.assert_close(case(fast), case(plain), rtol=1e-3, atol=1e-4)


def test_only_the_finest_level_and_only_within_frames() -> None:
    network = UNet3DModel(
        in_channels=8, model_channels=16, channel_mult=(1, 2, 2), num_res_blocks=1, attention_resolutions=(2, 4),
        num_head_channels=8, context_dim=12, norm_num_groups=8,
    ).eval()  # fmt: skip
    set_token_merging(network, 0.5)
    seen: dict[str, int] = {}
    for path, module in network.named_modules():
        if path.endswith("attn1.to_q"):
            module.register_forward_hook(lambda _, args, result, path=path: seen.update({path: args[0].shape[-2]}))
    frames, size = 3, (10, 6)
    latents = torch.randn(2, 4, frames, *size)
    words, image = torch.randn(2, 7, 12), torch.randn(2, frames, 4, 12)
    for window in ("none", "prv", "first", "roll"):
        out = network(latents, torch.zeros(2), words, image, None, latents, attention_window=window)
        assert out.shape == latents.shape
    finest = {path for path, count in seen.items() if count == 15 - 7}  # 5 × 3 tokens, half of them merged
    coarser = {path for path, count in seen.items() if count == 3 * 2}
    assert len(finest) == 3  # one block on the way down, two on the way up
    assert all(".transformer_blocks.0.attn1." in path for path in finest)
    assert coarser
    assert all(".1.transformer_blocks" in path for path in finest)  # temporal ones are the third layer of a block
    assert len(seen) > len(finest) + len(coarser)  # temporal attention, of frames


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_can_be_traced(name: str) -> None:
    """The memory planner's copies have no values."""
    network = CASES[name].network()
    set_token_merging(network, 0.5)
    twin = shape_twin(network)
    inputs = [x.to("meta") for x in CASES[name].inputs()]
    out = twin(*inputs)
    assert (out if isinstance(out, Tensor) else out.sample).is_meta


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_compilers_see_through(name: str) -> None:
    network = CASES[name].network()
    set_token_merging(network, 0.5)
    expected = CASES[name](network)
    torch._dynamo.reset()
    level = next(m for m in network.modules() if type(m).__name__ in ("SpatialTransformer", "Transformer2DModel"))
    level.compile(backend="eager")
    torch.testing.assert_close(CASES[name](network), expected)


@pytest.mark.slow
def test_what_half_of_the_tokens_leave_out_of_the_published_networks() -> None:
    """Shares of a pass's operations, those of matching included: docs/devices.md has them."""
    sizes: Any = OmegaConf.to_container(OmegaConf.load(config_directory() / "architecture" / "official.yaml"))

    def operations(network: Any, *inputs: Tensor) -> float:
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
        return float(counter.get_total_flops())

    def left_out(network: Any, *inputs: Tensor) -> float:
        set_token_merging(network, 0.0)
        whole = operations(network, *inputs)
        set_token_merging(network, 0.5)
        return 1 - operations(network, *inputs) / whole

    with torch.device("meta"):
        keyframes, video = SingleFrameUNet(**sizes["single_frame"]["unet"]), UNet3DModel(**sizes["multi_frame"]["unet"])
        found = []
        for height, width in ((640, 512), (1024, 1024)):
            latents = torch.zeros(1, 4, height // 8, width // 8)
            steps = torch.zeros(1, dtype=torch.long)
            found.append(left_out(keyframes, latents, torch.zeros(1), torch.zeros(1, 77, 768), steps, latents))
        latents, image = torch.zeros(1, 4, 16, 448 // 8, 384 // 8), torch.zeros(1, 16, 16, 1024)
        given = torch.zeros(1, video.config["in_channels"] - 4, *latents.shape[2:])
        found.append(left_out(video, latents, torch.zeros(1), torch.zeros(1, 77, 1024), image, None, given))
    assert found == pytest.approx([0.12, 0.25, 0.04], abs=0.005)
