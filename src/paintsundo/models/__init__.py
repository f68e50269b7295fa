"""Networks: tensors in, tensors out. No files but their own weights, no sampling loops, no training."""

from paintsundo.models.attention_backend import ATTENTION_BACKENDS, set_attention_backend
from paintsundo.models.attention_window import ATTENTION_WINDOWS
from paintsundo.models.clip_vision import ClipVisionEncoder
from paintsundo.models.image_projection import ImageProjection
from paintsundo.models.memory_format import use_channels_last
from paintsundo.models.single_frame_unet import SingleFrameUNet
from paintsundo.models.unet_3d import UNet3DModel
from paintsundo.models.video_autoencoder import VideoAutoencoderKL

__all__ = [
    "ATTENTION_BACKENDS",
    "ATTENTION_WINDOWS",
    "ClipVisionEncoder",
    "ImageProjection",
    "SingleFrameUNet",
    "UNet3DModel",
    "VideoAutoencoderKL",
    "set_attention_backend",
    "use_channels_last",
]
