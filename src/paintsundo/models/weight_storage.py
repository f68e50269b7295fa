"""Weights kept in eight bits: half of the memory of float16, at the price of their last digits.

Each layer's weights are cast to the network's number type when it is called, and back after (diffusers' layerwise
casting). What computes with several layers' weights at once (`fused`) leaves such layers alone.
"""

from __future__ import annotations

import torch
from diffusers.hooks import HookRegistry, apply_layerwise_casting
from diffusers.hooks.layerwise_casting import _LAYERWISE_CASTING_HOOK, LayerwiseCastingHook
from torch import nn

FLOAT8 = torch.float8_e4m3fn
# Few weights and much seen of them: norms, embeddings (of words, places, timesteps, strides, operation steps), and a
# network's first and last convolution.
_KEPT = ("norm", "embed", "^conv_in$", "^conv_out$", r"^input_blocks\.0\.0$", r"^out\.")


def store_in_float8(network: nn.Module) -> nn.Module:
    """Keep the weights of a network's linear layers and convolutions as `float8_e4m3fn` while they do not work.

    In place, for inference, and for good: what was rounded off is lost. A network that is stored so already is left as
    it is. Norms, embeddings, first and last convolutions stay as they are. To be called when weights are where they
    shall be and laid out as they shall be, before they are streamed.

    Args:
        network: of any class; it goes on computing in the type that its weights have now.
    """
    if not is_cast(network):
        compute = next(parameter.dtype for parameter in network.parameters() if parameter.is_floating_point())
        apply_layerwise_casting(network, FLOAT8, compute, _KEPT, (nn.Embedding,))
    return network


def is_cast(network: nn.Module) -> bool:
    """Whether weights of a network are stored in another type than they compute in."""
    return any(casting_of(module) is not None for module in network.modules())


def casting_of(layer: nn.Module) -> LayerwiseCastingHook | None:
    """What casts the weights of this layer itself, if anything does."""
    hooks: HookRegistry | None = vars(layer).get("_diffusers_hook")
    return None if hooks is None else hooks.get_hook(_LAYERWISE_CASTING_HOOK)


def cast_like(layer: nn.Module, other: nn.Module) -> None:
    """Have a layer's weights cast as those of another are, if they are."""
    casting = casting_of(other)
    if casting is not None:
        apply_layerwise_casting(layer, casting.storage_dtype, casting.compute_dtype, None, None, casting.non_blocking)
