"""A complete pair of models with random weights, in the official layout, of other sizes than the golden one."""

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig

from paintsundo.checkpoints import MultiFrameComponents, SingleFrameComponents
from paintsundo.checkpoints.text_encoders import load_tokenizer
from paintsundo.models import ClipVisionEncoder, ImageProjection, SingleFrameUNet, UNet3DModel, VideoAutoencoderKL
from tiny_models import TINY


def text_encoder(width: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=522,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=520,
            eos_token_id=521,
            pad_token_id=521,
        )
    )


def single_frame() -> SingleFrameComponents:
    """Six latent channels at a quarter of the size."""
    blocks = (8, 16, 16)
    return SingleFrameComponents(
        unet=SingleFrameUNet(
            in_channels=6,
            out_channels=6,
            block_out_channels=(8, 16, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=20,
            attention_head_dim=2,
            norm_num_groups=4,
        ),
        vae=AutoencoderKL(
            block_out_channels=blocks,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=6,
            norm_num_groups=4,
            scaling_factor=0.4,
        ),
        text_encoder=text_encoder(20),
        tokenizer=load_tokenizer(TINY / "single_frame" / "tokenizer"),
    )


def multi_frame() -> MultiFrameComponents:
    """Clips of 8 frames, five latent channels at half the size, three levels in the UNet."""
    return MultiFrameComponents(
        unet=UNet3DModel(
            in_channels=10,
            out_channels=5,
            model_channels=32,
            channel_mult=(1, 1, 2),
            num_res_blocks=1,
            attention_resolutions=(4, 2),
            num_head_channels=16,
            context_dim=12,
            temporal_length=8,
        ),
        vae=VideoAutoencoderKL(ch=32, ch_mult=(1, 2), num_res_blocks=1, z_channels=5),
        text_encoder=text_encoder(12),
        tokenizer=load_tokenizer(TINY / "multi_frame" / "tokenizer"),
        image_encoder=ClipVisionEncoder(
            CLIPVisionConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                projection_dim=8,
                image_size=112,
                patch_size=14,
            )
        ),
        image_projection=ImageProjection(
            dim=16,
            depth=1,
            dim_head=8,
            heads=2,
            num_queries=3,
            embedding_dim=16,
            output_dim=12,
            ff_mult=2,
            video_length=8,
        ),
    )


def write_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Write `single_frame/`, `multi_frame/` and `tagger/` below a folder, every weight random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        single, multi = single_frame(), multi_frame()
        for network in (*single.networks().values(), *multi.networks().values()):
            for parameter in network.parameters():
                # Zero-initialised layers would hide what lies before them.
                if not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.05)
    single.save(folder / "single_frame")
    multi.save(folder / "multi_frame")
    shutil.copytree(TINY / "tagger", folder / "tagger")
    return folder
