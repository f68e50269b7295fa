"""Checkpoints of VideoCrafter, DynamiCrafter and ToonCrafter: their networks compute the same under our names."""

import json
from pathlib import Path

import lvdm_files
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from lvdm_files import CONTEXT, FRAMES
from malicious import Malicious
from safetensors.torch import save_file

from paintsundo.checkpoints import lvdm_networks, open_clip
from paintsundo.checkpoints.starting_points import StartingPoint, find_starting_point
from paintsundo.errors import UserError

MANIFEST = Path(__file__).parents[1] / "golden" / "official_manifest.json"


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def find(source: str | Path) -> StartingPoint:
    found = find_starting_point(str(source), "multi_frame")
    assert found.kind == "lvdm"
    assert "\n" not in found.description
    return found


def unet_inputs(channels: int = 4) -> dict[str, torch.Tensor]:
    return {
        "x": torch.randn(1, 4, 3, 8, 8),
        "timesteps": torch.tensor([500]),
        "context_text": torch.randn(1, 7, CONTEXT),
        "context_img": torch.randn(1, 3, 2, CONTEXT),
        "fs": torch.tensor([9]),
        "concat_cond": torch.randn(1, 4, 3, 8, 8),
    }


@torch.no_grad()
def same_output(network: torch.nn.Module, original: torch.nn.Module) -> None:
    given = unet_inputs()
    torch.testing.assert_close(network.eval()(**given), original(**given), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("component", ["unet", "vae", "image_projection"])
def test_published_configurations_are_told_by_the_shapes(component: str) -> None:
    manifest = json.loads(MANIFEST.read_text())[f"multi_frame/{component}"]
    tensors = {name: torch.empty(shape, device="meta") for name, shape in manifest["tensors"].items()}
    if component == "vae":
        config, changes = lvdm_networks.vae_config(tensors)
    else:
        tell = {"unet": lvdm_networks.unet_config, "image_projection": lvdm_networks.projection_config}[component]
        config, changes = tell(tensors, {})
    assert changes == []
    published = manifest["config"]
    assert {key: config[key] for key in config if key in published} == {
        key: published[key] for key in config if key in published
    }
    # What is not told has its published value as the default.
    network = {
        "unet": lvdm_networks.UNet3DModel,
        "vae": lvdm_networks.VideoAutoencoderKL,
        "image_projection": lvdm_networks.ImageProjection,
    }[component]
    with torch.device("meta"):
        built = network.from_config(config)
    assert {name: list(t.shape) for name, t in built.state_dict().items()} == manifest["tensors"]
    assert all(built.config[key] == published[key] for key in published if not isinstance(published[key], list))


@pytest.mark.parametrize("component", ["text_encoder", "image_encoder"])
def test_published_towers_are_told_by_the_shapes(component: str) -> None:
    manifest = json.loads(MANIFEST.read_text())[f"multi_frame/{component}"]
    with torch.device("meta"):
        if component == "text_encoder":
            tensors = lvdm_files.TextTower(1024, 24, 49408).state_dict()
            config = open_clip.text_config(tensors)
            built = open_clip.text_tower(config, tensors, "test")
        else:
            tensors = lvdm_files.VisualTower(1280, 32, 14, 16, 1024).state_dict()
            config = open_clip.vision_config(tensors)
            built = open_clip.vision_tower(config, tensors, "test")
    published = manifest["config"]
    assert {key: built.config.to_dict()[key] for key in published} == published

    def bare(name: str) -> str:
        return name.removeprefix("text_model.").removeprefix("vision_model.")

    found = {bare(name): list(tensor.shape) for name, tensor in built.state_dict().items()}
    assert found == {bare(name): shape for name, shape in manifest["tensors"].items()}


class TestImageToVideo:
    """A file with everything that the multi-frame model has: ToonCrafter's."""

    @pytest.fixture
    def networks(self) -> dict[str, torch.nn.Module]:
        return {
            "unet": lvdm_files.unet(image_cross_attention_scale_learnable=True),
            "vae": lvdm_files.vae(),
            "text": lvdm_files.TextTower().eval(),
            "visual": lvdm_files.VisualTower().eval(),
            "projection": lvdm_files.projection(),
        }

    @pytest.fixture
    def file(self, tmp_path: Path, networks: dict[str, torch.nn.Module]) -> str:
        state = lvdm_files.tensors_of(**networks)
        # DynamiCrafter and ToonCrafter tell the two pictures apart by nothing.
        del state["image_proj_model.input_pos"]
        # What is left of the text side in the image embedder.
        state["embedder.model.positional_embedding"] = torch.zeros(77, 8)
        state["embedder.model.logit_scale"] = torch.zeros(())
        return lvdm_files.write(tmp_path / "model.ckpt", state)

    def test_unet(self, file: str, networks: dict[str, torch.nn.Module]) -> None:
        unet = find(file).load("unet")
        assert unet.training
        assert unet.config.num_head_channels == 16
        same_output(unet, networks["unet"])

    def test_temporal_autoencoder(self, file: str, networks: dict[str, torch.nn.Module]) -> None:
        vae, frames = find(file).load("vae").eval(), torch.rand(1, 3, 3, 32, 16) * 2 - 1
        with torch.no_grad():
            torch.testing.assert_close(vae(frames), networks["vae"](frames))

    def test_text_tower_ends_with_the_last_layer_but_one(self, file: str, networks: dict[str, torch.nn.Module]) -> None:
        encoder, ids = find(file).load("text_encoder").eval(), torch.randint(0, 50, (2, 77))
        assert encoder.config.num_hidden_layers == 2
        with torch.no_grad():
            expected = networks["text"](ids)
            torch.testing.assert_close(encoder(ids).last_hidden_state, expected, atol=1e-5, rtol=1e-4)

    def test_image_tower(self, file: str, networks: dict[str, torch.nn.Module]) -> None:
        encoder, frames = find(file).load("image_encoder").eval(), torch.rand(1, 3, 2, 32, 32) * 2 - 1
        assert encoder.config.projection_dim == 12
        with torch.no_grad():
            prepared = encoder.vision_model.embeddings.preprocess(frames[0].transpose(0, 1))
            torch.testing.assert_close(encoder(frames)[0], networks["visual"](prepared), atol=1e-5, rtol=1e-4)
        assert torch.equal(encoder.visual_projection.weight, networks["visual"].proj.T)

    def test_image_projection(self, file: str, networks: dict[str, torch.nn.Module]) -> None:
        found, original = find(file), networks["projection"]
        assert "which of the two pictures" in found.description
        projection = found.load("image_projection").eval()
        assert projection.config.num_queries == 2
        tokens = torch.randn(1, 2, 5, 32)
        with torch.no_grad():
            original.input_pos.zero_()
            torch.testing.assert_close(projection(tokens), original(tokens))

    def test_no_tokenizer_and_nothing_else_left_out(self, file: str) -> None:
        found = find(file)
        assert found.load("tokenizer") is None
        assert "ToonCrafter" in found.description
        assert "no tokenizer" in found.description
        assert "ignored" not in found.description
        assert found.config("vae")["ch_mult"] == [1, 1, 1, 2]


class TestTextToVideo:
    """A file of a model that is given words alone: VideoCrafter's."""

    @pytest.mark.parametrize("with_fps", [True, False])
    def test_pictures_have_no_effect_at_first(self, tmp_path: Path, with_fps: bool) -> None:
        original = lvdm_files.unet(in_channels=4, image_cross_attention=False, fs_condition=with_fps)
        found = find(lvdm_files.write(tmp_path / "model.ckpt", lvdm_files.tensors_of(unet=original)))
        for said in ("VideoCrafter", "widened with zeros", "new attention to the pictures", "no vae"):
            assert said in found.description
        assert ("new embedding of the frame stride" in found.description) != with_fps
        network, given = found.load("unet"), unet_inputs()
        words = {**given, "context_img": None, "concat_cond": None}
        with torch.no_grad():
            expected = original(**words)
            torch.testing.assert_close(network.eval()(**given), expected, atol=1e-6, rtol=1e-5)
        network(**given).square().mean().backward()
        assert network.input_blocks[0][0].weight.grad[:, 4:].any()
        assert network.input_blocks[1][1].transformer_blocks[0].attn2.to_v_ip.weight.grad.any()

    @torch.no_grad()
    def test_an_autoencoder_of_pictures_decodes_each_frame_as_before(self, tmp_path: Path) -> None:
        temporal = lvdm_files.vae()
        state = lvdm_files.tensors_of(unet=lvdm_files.unet(), vae=temporal)
        added = ("time_stack", "mix_factor", "attn_refinement", "time_mix_conv")
        state = {name: tensor for name, tensor in state.items() if not any(part in name for part in added)}
        state["first_stage_model.post_quant_conv.bias"].zero_()
        found = find(lvdm_files.write(tmp_path / "model.ckpt", state))
        assert "temporal layers" in found.description
        settings = {
            "block_out_channels": (32, 32, 32, 64),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 1,
        }
        pictures = AutoencoderKL(**settings).eval()
        pictures.load_state_dict(convert_ldm_vae_checkpoint(dict(state), settings))
        vae, frames = found.load("vae").eval(), torch.rand(1, 3, 4, 16, 24) * 2 - 1
        latents, hidden = vae.encode(frames)
        expected = pictures.encode(frames[0].transpose(0, 1)).latent_dist.mode()
        torch.testing.assert_close(latents[0].transpose(0, 1) / vae.scale_factor, expected, atol=1e-5, rtol=1e-4)
        decoded = vae.decode(latents, hidden)[0].transpose(0, 1)
        torch.testing.assert_close(decoded, pictures.decode(expected).sample, atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_what_came_before_the_decoder_is_folded_into_it(self) -> None:
        tensors = {
            name: tensor
            for name, tensor in lvdm_files.vae().state_dict().items()
            if "time_" not in name and "mix_factor" not in name and "attn_refinement" not in name
        }
        vae = lvdm_networks.vae(lvdm_networks.vae_config(tensors)[0], tensors, "test")
        z = torch.randn(1, 4, 6, 6)
        before = torch.nn.functional.conv2d(z, tensors["post_quant_conv.weight"], tensors["post_quant_conv.bias"])
        weight, bias = tensors["decoder.conv_in.weight"], tensors["decoder.conv_in.bias"]
        expected = torch.nn.functional.conv2d(before, weight, bias, padding=1)
        torch.testing.assert_close(vae.decoder.conv_in(z)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])

    def test_queries_for_the_whole_clip(self, tmp_path: Path) -> None:
        projection = lvdm_files.projection()
        state = lvdm_files.tensors_of(unet=lvdm_files.unet(), projection=projection)
        queries = torch.randn(1, 16, 20)
        state["image_proj_model.latents"] = queries
        found = find(lvdm_files.write(tmp_path / "model.ckpt", state))
        assert "16 queries for the whole clip" in found.description
        loaded = found.load("image_projection")
        assert loaded.config.video_length == FRAMES
        assert torch.equal(loaded.latents.detach().unflatten(1, (FRAMES, 16)), queries.expand(FRAMES, -1, -1)[None])


class TestForms:
    """The same tensors in the various forms that such files come in."""

    @pytest.fixture
    def original(self) -> lvdm_files.UNet3DModel:
        return lvdm_files.unet()

    @pytest.fixture
    def state(self, original: lvdm_files.UNet3DModel) -> dict[str, torch.Tensor]:
        return lvdm_files.tensors_of(unet=original)

    def test_bare(self, tmp_path: Path, original, state) -> None:
        torch.save(state, tmp_path / "model.pt")
        same_output(find(tmp_path / "model.pt").load("unet"), original)

    def test_old_format_of_torch(self, tmp_path: Path, original, state) -> None:
        torch.save({"state_dict": state}, tmp_path / "model.ckpt", _use_new_zipfile_serialization=False)
        same_output(find(tmp_path / "model.ckpt").load("unet"), original)

    def test_deepspeed(self, tmp_path: Path, original, state) -> None:
        wrapped = {f"_forward_module.{name}": tensor for name, tensor in state.items()}
        torch.save({"module": wrapped}, tmp_path / "model.ckpt")
        same_output(find(tmp_path / "model.ckpt").load("unet"), original)

    def test_safetensors_in_half_precision(self, tmp_path: Path, original, state) -> None:
        halved = {name: tensor.half() for name, tensor in state.items()}
        save_file(halved, tmp_path / "model.safetensors")
        loaded = find(tmp_path / "model.safetensors").load("unet")
        assert loaded.dtype == torch.float32
        original.half().float()
        same_output(loaded, original)

    def test_other_spellings(self, tmp_path: Path, original, state) -> None:
        spelled = {
            name.replace("fps_embedding", "framestride_embed").replace("temopral_conv", "temporal_conv"): tensor
            for name, tensor in state.items()
        }
        assert spelled.keys() != state.keys()
        same_output(find(lvdm_files.write(tmp_path / "model.ckpt", spelled)).load("unet"), original)

    def test_convolutions_for_linear_maps(self, tmp_path: Path, original, state) -> None:
        for name, tensor in state.items():
            if name.endswith(("proj_in.weight", "proj_out.weight")) and "init_attn" not in name:
                spatial = ".1.proj" in name
                state[name] = tensor[..., None, None] if spatial else tensor[..., None]
        same_output(find(lvdm_files.write(tmp_path / "model.ckpt", state)).load("unet"), original)

    def test_what_no_shape_tells_may_be_written_beside(self, tmp_path: Path) -> None:
        original = lvdm_files.unet(addition_attention=False, num_head_channels=8)
        state = lvdm_files.tensors_of(unet=original)
        file = lvdm_files.write(tmp_path / "model.ckpt", state)
        parameters = {"num_head_channels": 8, "default_fs": 10, "image_size": [40, 64]}
        written = {"model": {"params": {"channels": 4, "unet_config": {"params": parameters}}}}
        (tmp_path / "model.yaml").write_text(json.dumps(written))
        loaded = find(file).load("unet")
        assert loaded.config.default_fs == 10
        same_output(loaded, original)
        parameters["use_relative_position"] = True
        (tmp_path / "model.yaml").write_text(json.dumps(written))
        with pytest.raises(UserError, match="use_relative_position"):
            find(file)


class TestFaults:
    def fails(self, file: Path | str, *told: str, component: str | None = None, kind: str = "multi_frame") -> None:
        with pytest.raises(UserError) as caught:
            find_starting_point(str(file), kind).load(component or "tokenizer")
        for words in (*told, str(file)):
            assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.fixture
    def state(self) -> dict[str, torch.Tensor]:
        return lvdm_files.tensors_of(unet=lvdm_files.unet())

    def test_a_pickle_that_would_run_something(self, tmp_path: Path, state) -> None:
        torch.save({"state_dict": state, "callbacks": Malicious(tmp_path / "ran")}, tmp_path / "model.ckpt")
        self.fails(tmp_path / "model.ckpt", "holds Python objects")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("content", [b"", b"something else", b"PK\x03\x04 cut off"])
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "model.ckpt").write_bytes(content)
        self.fails(tmp_path / "model.ckpt", "damaged")

    def test_cut_off(self, tmp_path: Path, state) -> None:
        file = Path(lvdm_files.write(tmp_path / "model.ckpt", state))
        file.write_bytes(file.read_bytes()[:100_000])
        self.fails(file, "damaged")

    def test_unknown_and_missing_tensors_are_named(self, tmp_path: Path, state) -> None:
        unet = "model.diffusion_model."
        missing = "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
        del state[unet + missing]
        state[f"{unet}input_blocks.1.2.transformer_blocks.0.attn1.relative_position_k.table"] = torch.zeros(3, 3)
        file = lvdm_files.write(tmp_path / "model.ckpt", state)
        self.fails(file, f"1 missing: {missing}", "1 unknown", "relative_position_k", component="unet")
        del state[f"{unet}out.2.weight"]
        self.fails(lvdm_files.write(tmp_path / "model.ckpt", state), "out.2.weight is missing")

    def test_tensors_of_other_things_are_listed(self, tmp_path: Path, state) -> None:
        state["model_ema.decay"] = torch.zeros(())
        state["control_model.weight"] = torch.zeros(2)
        found = find(lvdm_files.write(tmp_path / "model.ckpt", state))
        assert "2 tensors ignored (model_ema.decay, control_model.weight)" in found.description

    def test_other_files(self, tmp_path: Path, state) -> None:
        file = lvdm_files.write(tmp_path / "model.ckpt", state)
        self.fails(file, "video model", kind="single_frame")
        flat = {n: t for n, t in state.items() if "temopral" not in n and ".2." not in n and "init_attn" not in n}
        self.fails(lvdm_files.write(tmp_path / "flat.ckpt", flat), "Stable Diffusion in one file")
        torch.save({"state_dict": {"a.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
        self.fails(tmp_path / "other.ckpt", "1 tensors, such as a.weight")
        torch.save([1, 2], tmp_path / "list.ckpt")
        self.fails(tmp_path / "list.ckpt", "holds no tensors")
        self.fails(tmp_path / "none.ckpt", "does not exist")
