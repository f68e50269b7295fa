"""Small networks of random weights in the folders that the measures read."""

from pathlib import Path

from paintsundo.metrics.lpips import LAYERS


def save_clip(folder: Path) -> None:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**small, "vocab_size": 99},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder / "clip")
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder / "clip")


def save_videomae(folder: Path) -> None:
    import torch
    from transformers import VideoMAEConfig, VideoMAEModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = VideoMAEConfig(image_size=32, patch_size=8, num_frames=8, tubelet_size=2, **small)
    VideoMAEModel(config).save_pretrained(folder / "videomae")


def save_alexnet(folder: Path, name: str = "alexnet.safetensors") -> Path:
    """Of random weights, under torchvision's names, its classifier among them."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    tensors = {"classifier.6.bias": torch.zeros(3)}
    for place, inputs, outputs, kernel, _, _ in LAYERS:
        scale = 1 / (inputs * kernel**2) ** 0.5
        tensors[f"features.{place}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * scale
        tensors[f"features.{place}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    (folder / "lpips").mkdir()
    file = folder / "lpips" / name
    save_file(tensors, file) if file.suffix == ".safetensors" else torch.save(tensors, file)
    return file
