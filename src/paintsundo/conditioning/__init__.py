"""Pictures and words → conditions: reading, resizing, buckets, tags, text embeddings."""

from paintsundo.conditioning.buckets import PUBLISHED_BUCKETS, choose_bucket
from paintsundo.conditioning.images import crop_notice, crop_to, open_picture, pad_to, to_model, to_uint8
from paintsundo.conditioning.tagger import Tagger
from paintsundo.conditioning.text import encode_prompts, prompt_notice

__all__ = [
    "PUBLISHED_BUCKETS",
    "Tagger",
    "choose_bucket",
    "crop_notice",
    "crop_to",
    "encode_prompts",
    "open_picture",
    "pad_to",
    "prompt_notice",
    "to_model",
    "to_uint8",
]
