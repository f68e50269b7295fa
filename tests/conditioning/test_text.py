import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from paintsundo.conditioning import encode_prompts, prompt_notice

MODELS = ("single_frame", "multi_frame")


@pytest.fixture(scope="session", params=MODELS)
def encoder(request, golden_folder):
    folder = golden_folder / request.param
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    model = CLIPTextModel(CLIPTextConfig(**config)).eval()
    weights = {
        key.removeprefix("text_model."): value.float()
        for key, value in load_file(folder / "text_encoder" / "model.safetensors").items()
    }
    # Key names carry a prefix in some versions of transformers and none in others.
    prefix = "text_model." if any(key.startswith("text_model.") for key in model.state_dict()) else ""
    model.load_state_dict({prefix + key: value for key, value in weights.items()})
    return request.param, tokenizer, model


@torch.no_grad()
def test_embeddings_are_the_published_ones(encoder, golden, golden_folder):
    name, tokenizer, model = encoder
    params = json.loads((golden_folder / "params.json").read_text())
    prompt = params["prompt"] if name == "single_frame" else params["video"]["prompt"]
    expected = golden["sf.text.hidden" if name == "single_frame" else "mf.text.hidden"]
    hidden = encode_prompts(tokenizer, model, prompt)
    assert hidden.shape == expected.shape
    assert float((hidden - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@torch.no_grad()
def test_prompts_are_independent_of_their_batch(encoder):
    _, tokenizer, model = encoder
    prompts = ["", "1girl, solo", "word " * 200]
    together = encode_prompts(tokenizer, model, prompts)
    assert together.shape[:2] == (3, 77)
    for row, prompt in enumerate(prompts):
        assert torch.allclose(together[row : row + 1], encode_prompts(tokenizer, model, [prompt]), atol=1e-5)


@torch.no_grad()
def test_padding_is_seen(encoder):
    """Without a mask the first position is the same, and the last ones see the padding, as in training."""
    _, tokenizer, model = encoder
    hidden = encode_prompts(tokenizer, model, ["cat", "cat dog"])
    assert torch.allclose(hidden[0, 0], hidden[1, 0], atol=1e-6)
    assert not torch.allclose(hidden[0, -1], hidden[1, -1], atol=1e-3)


def test_a_tokenizer_without_a_length_is_cut_at_the_encoders(encoder):
    _, tokenizer, model = encoder
    length = tokenizer.model_max_length
    try:
        tokenizer.model_max_length = int(1e30)
        assert encode_prompts(tokenizer, model, "word " * 200).shape[1] == 77
    finally:
        tokenizer.model_max_length = length


def test_prompt_notice(encoder):
    _, tokenizer, _ = encoder
    assert prompt_notice(tokenizer, "1girl, solo") is None
    count = len(tokenizer("word " * 200, add_special_tokens=False).input_ids)
    assert prompt_notice(tokenizer, "word " * 200) == (f"the prompt has {count} tokens; the model reads the first 75")
