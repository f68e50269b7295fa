import errno
import json
import pickle
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mixed_sizes
from paintsundo.data import shards
from paintsundo.data.index import read_indexes
from paintsundo.data.plan import BatchPlan, generator
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import StateRule, fitted
from paintsundo.data.stream import Stream, StreamLoader
from paintsundo.errors import UserError
from paintsundo.training import latent_cache
from paintsundo.training.cached_batches import CachedReader, GridClipRule
from paintsundo.training.latent_cache import CacheRecipe, LatentCache, model_hash


class Encoders:
    """Stand-ins whose outputs show what went in, and how often they were asked."""

    def __init__(self) -> None:
        self.vae = nn.Conv2d(3, 4, 8, 8)
        self.pictures = self.ends = self.texts = 0

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        assert pictures.dtype == torch.float32
        assert pictures.min() >= -1
        assert pictures.max() <= 1
        self.pictures += len(pictures)
        mean = self.vae(pictures)
        return mean, mean.abs() / 10 + 0.01

    def encode_ends(self, pictures: Tensor) -> Tensor:
        self.ends += len(pictures)
        return pictures.mean(dim=(2, 3))[:, None].repeat(1, 5, 2)  # (N, L=5, E=6)

    def tokenize(self, tags: object) -> Tensor:
        self.texts += 1
        return torch.full((77,), sum(map(ord, "".join(tags))))

    def recipe(self, **more: object) -> CacheRecipe:
        values = {"vae": model_hash(self.vae), "buckets": mixed_sizes.BUCKETS, "positions": 7}
        return CacheRecipe(**{**values, **more})

    def fill(self, cache: LatentCache, source: ProcessSource, **more: object) -> list:
        ends = self.encode_ends if cache.recipe.image_encoder else None
        tokenize = self.tokenize if cache.recipe.tokenizer else None
        return cache.fill(source, self.encode, ends, tokenize, per_file=3, workers=2, progress=False, **more)


@pytest.fixture
def encoders() -> Encoders:
    torch.manual_seed(0)
    return Encoders()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return mixed_sizes.write(tmp_path / "set", 11, recordings=4)


def source_of(data: Path) -> ProcessSource:
    return ProcessSource(read_indexes([data], "train"))


BOTH = {"image_encoder": "clip", "tokenizer": "words", "token_every": 3}


def test_what_is_kept_is_what_the_encoders_gave(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    source, cache = source_of(data), LatentCache(tmp_path / "cache", encoders.recipe(**BOTH))
    assert encoders.fill(cache, source) == []
    assert (len(cache), encoders.pictures, encoders.ends, encoders.texts) == (11, 77, 33, 11)
    opened = LatentCache(tmp_path / "cache", encoders.recipe(**BOTH))
    plan = BatchPlan(source.index, mixed_sizes.BUCKETS, 2)
    for number in range(11):
        content, process = str(source.index.hashes[number]), source.process(number)
        works, bucket = opened.recipe.works(content), plan.buckets[plan.bucket_of[number]]
        pictures = np.stack([fitted(process.state(work), bucket) for work in works])
        signed = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        mean, std = encoders.encode(signed)
        assert torch.equal(opened.row(content, "mean"), mean.half())
        assert torch.equal(opened.row(content, "std", (6, 2)), std.half()[[6, 2]])
        assert torch.equal(opened.row(content, "image_tokens"), encoders.encode_ends(signed[::3]).half())
        assert torch.equal(opened.row(content, "token_ids"), encoders.tokenize(process.tags).int())
        assert opened.tags(content) == list(process.tags)


def test_positions_have_exact_ends_and_reach_all_steps(encoders: Encoders) -> None:
    recipe = encoders.recipe(positions=9)
    works = np.stack([recipe.works(f"{n:064x}") for n in range(0, 2**70, 2**63)] + [recipe.works("ab" * 32)])
    many = np.stack([recipe.works(f"{n:016x}" + "0" * 48) for n in range(400)])
    assert (works[:, 0] == 1).all()
    assert (many[:, -1] == 0).all()
    assert (np.diff(many) < 0).all()
    inner = np.sort(many[:, 1:-1].ravel())
    assert np.diff(inner).max() < 0.01  # no gap between the positions of all processes together
    assert (recipe.works("ab" * 32) == recipe.works("ab" * 32)).all()
    assert (replace(recipe, seed=1).works("ab" * 32) != recipe.works("ab" * 32)).any()


def test_a_filled_cache_is_not_filled_again(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    cache = LatentCache(tmp_path / "cache", encoders.recipe())
    encoders.fill(cache, source_of(data))
    encoders.pictures = 0
    encoders.fill(LatentCache(tmp_path / "cache", encoders.recipe()), source_of(data))
    assert encoders.pictures == 0
    mixed_sizes.write(tmp_path / "more", 3, first=50)
    encoders.fill(cache, ProcessSource(read_indexes([tmp_path / "more", data], "train")))
    assert encoders.pictures == 3 * 7


def test_one_changed_pixel_is_encoded_anew_and_never_read_stale(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    cache = LatentCache(tmp_path / "cache", encoders.recipe())
    encoders.fill(cache, source_of(data))
    before = source_of(data).index

    def repaint(key: str, members: dict[str, bytes]) -> dict[str, bytes]:
        if key != "0000007":
            return members
        process = shards.decode(members)
        process.stages[0].picture[3, 1, 2] ^= 1
        return shards.encode(process, split="train")

    mixed_sizes.rewrite(data, 1, repaint)
    source, encoders.pictures = source_of(data), 0
    assert np.flatnonzero(source.index.hashes != before.hashes).tolist() == [7]
    reader = CachedReader(source, cache, StateRule())
    with pytest.raises(Exception, match=r"set/00001.tar 0000007: is not in the cache"):
        reader.read(7, (40, 40), [generator(0)])
    encoders.fill(cache, source)
    assert encoders.pictures == 7
    assert str(source.index.hashes[7]) in cache


def test_another_model_bucket_table_or_rule_finds_nothing(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    recipe = encoders.recipe(**BOTH)
    encoders.fill(LatentCache(tmp_path / "cache", recipe), source_of(data))
    with torch.no_grad():
        encoders.vae.weight[2, 1, 0, 0] += 1e-6
    others = [
        replace(recipe, vae=model_hash(encoders.vae)),
        replace(recipe, buckets=(*mixed_sizes.BUCKETS[:-1], (40, 48))),
        replace(recipe, positions=4),
        replace(recipe, seed=1),
        replace(recipe, precision="bf16-mixed"),
        replace(recipe, image_encoder="other"),
        replace(recipe, tokenizer="other"),
        replace(recipe, token_every=2),
    ]
    assert len({other.identity for other in [recipe, *others]}) == 9
    for other in others:
        assert len(LatentCache(tmp_path / "cache", other)) == 0
    assert len(LatentCache(tmp_path / "cache", recipe)) == 11


def test_model_hashes_know_weights_names_types_and_configurations(encoders: Encoders) -> None:
    state = encoders.vae.state_dict()
    whole = model_hash(encoders.vae)
    assert whole == model_hash(state) == model_hash(dict(reversed(list(state.items()))))
    assert whole != model_hash({**state, "bias": state["bias"].half()})
    assert whole != model_hash({"weights": state["weight"], "bias": state["bias"]})
    assert whole != model_hash({**state, "weight": state["weight"].reshape(4, 3, 64, 1)})
    assert whole != model_hash(state, {"scaling_factor": 0.2})
    assert whole == model_hash(state, {"_diffusers_version": "1"})
    scalar = {"a": torch.tensor(1, dtype=torch.bfloat16), "b": torch.empty(0)}
    assert model_hash(scalar) != model_hash({**scalar, "a": torch.tensor(2, dtype=torch.bfloat16)})


def test_a_cut_short_filling_goes_on_and_leaves_no_half_files(
    data: Path, tmp_path: Path, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = LatentCache(tmp_path / "cache", encoders.recipe())
    written = []
    save = latent_cache.save_file

    def full_disk(tensors: dict, path: Path, about: dict) -> None:
        if len(written) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path, about)
        written.append(path)

    monkeypatch.setattr(latent_cache, "save_file", full_disk)
    with pytest.raises(UserError, match=r"cache of latents cannot be written to .*No space left"):
        encoders.fill(cache, source_of(data))
    names = sorted(path.name for path in cache.folder.iterdir())
    assert len(names) == 3
    assert names[-1] == "recipe.json"
    monkeypatch.undo()
    done = LatentCache(tmp_path / "cache", encoders.recipe())
    assert 0 < len(done) < 11
    encoders.pictures = 0
    expected = 7 * (11 - len(done))
    encoders.fill(done, source_of(data))
    assert encoders.pictures == expected
    assert len(done) == 11


def test_damaged_files_count_as_absent(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    cache = LatentCache(tmp_path / "cache", encoders.recipe())
    encoders.fill(cache, source_of(data))
    file = sorted(cache.folder.glob("*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])
    cache.refresh()
    assert len(cache) < 11
    encoders.fill(cache, source_of(data))
    assert len(cache) == 11


def test_ranks_fill_parts_that_make_the_whole(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    caches = [LatentCache(tmp_path / "cache", encoders.recipe()) for _ in range(3)]
    for rank, cache in enumerate(caches):
        encoders.fill(cache, source_of(data), rank=rank, world=3)
    assert encoders.pictures == 77
    caches[0].refresh()
    assert len(caches[0]) == 11


def test_what_cannot_be_encoded_is_named_and_left_out(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    def spoil(key: str, members: dict[str, bytes]) -> dict[str, bytes]:
        if key == "0000006":
            members["pictures.png"] = members["pictures.png"][:60] + b"\x00" * 300
        return members

    mixed_sizes.rewrite(data, 1, spoil)
    source, cache = source_of(data), LatentCache(tmp_path / "cache", encoders.recipe())
    encode = encoders.encode
    twelfth = iter(range(10**6))

    def sometimes_endless(pictures: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = encode(pictures)
        return (mean * 1e30 if next(twelfth) == 4 else mean), std

    encoders.encode = sometimes_endless  # type: ignore[method-assign]
    faults = encoders.fill(cache, source)
    assert sorted(fault.reason.split(" (")[0] for fault in faults) == [
        "cannot be decoded",
        "its latents are not finite",
    ]
    assert len(cache) == 9
    plan = BatchPlan(source.index, mixed_sizes.BUCKETS, 2, 1)
    stream = Stream(plan, CachedReader(source, cache, StateRule()), max_faults=0.5)
    batches = list(islice(iter(StreamLoader(stream)), 15))
    named = {fault["reason"] for batch in batches for fault in batch["faults"]}
    assert named == {"is not in the cache of latents"}


@pytest.mark.parametrize("workers", [0, 2])
def test_state_batches_hold_the_latents_of_their_steps(
    data: Path, tmp_path: Path, encoders: Encoders, workers: int
) -> None:
    source, cache = source_of(data), LatentCache(tmp_path / "cache", encoders.recipe(tokenizer="words"))
    encoders.fill(cache, source)
    plan = BatchPlan(source.index, mixed_sizes.BUCKETS, 4, 1, repeats=2)
    stream = Stream(plan, pickle.loads(pickle.dumps(CachedReader(source, cache, StateRule()))))
    for batch in islice(iter(StreamLoader(stream, workers)), 8):
        height, width = plan.batch(batch["number"]).bucket
        for name in ("state_mean", "state_std", "finished_mean", "finished_std"):
            assert batch[name].shape == (4, 4, height // 8, width // 8)
            assert batch[name].dtype == torch.float16
        assert batch["token_ids"].shape == (4, 77)
        assert batch["token_ids"].dtype == torch.int64
        for row, index in enumerate(plan.batch(batch["number"]).indices.tolist()):
            content = str(source.index.hashes[index])
            steps = [round(999 * (1 - work)) for work in cache.recipe.works(content)]
            position = steps.index(int(batch["operation_steps"][row]))
            assert torch.equal(batch["state_mean"][row], cache.row(content, "mean")[position])
            assert torch.equal(batch["finished_std"][row], cache.row(content, "std")[0])
            assert batch["tags"][row] == cache.tags(content)


def test_clip_batches_end_where_tokens_are(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    recipe = encoders.recipe(positions=13, image_encoder="clip", token_every=3)
    source, cache = source_of(data), LatentCache(tmp_path / "cache", recipe)
    encoders.fill(cache, source)
    plan = BatchPlan(source.index, mixed_sizes.BUCKETS, 4, 1)
    stream = Stream(plan, CachedReader(source, cache, GridClipRule(4, (1, 2, 3))))
    strides, firsts, lasts = set(), 0, 0
    for batch in islice(iter(StreamLoader(stream)), 30):
        height, width = plan.batch(batch["number"]).bucket
        assert batch["clip_mean"].shape == batch["clip_std"].shape == (4, 4, 4, height // 8, width // 8)
        assert batch["image_tokens"].shape == (4, 2, 5, 6)
        for row, index in enumerate(plan.batch(batch["number"]).indices.tolist()):
            content = str(source.index.hashes[index])
            works = cache.recipe.works(content).astype(np.float32).tolist()
            at = [works.index(work) for work in batch["works"][row].tolist()]
            strides |= set(np.diff(at).tolist())
            firsts, lasts = firsts + (at[0] == 0), lasts + (at[-1] == 12)
            assert torch.equal(batch["clip_mean"][row], cache.row(content, "mean")[at].transpose(0, 1))
            ends = cache.row(content, "image_tokens")[[at[0] // 3, at[-1] // 3]]
            assert torch.equal(batch["image_tokens"][row], ends)
    assert strides == {1, 2, 3}
    assert firsts > 25
    assert lasts > 25


def test_rules_that_do_not_fit_are_told(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    source = source_of(data)
    for recipe, rule, message in (
        (encoders.recipe(positions=7), GridClipRule(4, (1, 3)), "do not fit into 7 positions"),
        (encoders.recipe(positions=13, image_encoder="c", token_every=4), GridClipRule(4, (4, 1)), "token_every"),
        (encoders.recipe(), GridClipRule(4, ()), "strides"),
        (encoders.recipe(), GridClipRule(1, (1,)), "2 frames"),
    ):
        with pytest.raises(UserError, match=message):
            CachedReader(source, LatentCache(tmp_path / "cache", recipe), rule)
    for more in ({"positions": 1}, {"token_every": 4}, {"token_every": 0}):
        with pytest.raises(UserError):
            encoders.recipe(**more)
    cache = LatentCache(tmp_path / "cache", encoders.recipe(image_encoder="clip"))
    with pytest.raises(UserError, match="disagree about CLIP-Vision tokens"):
        cache.fill(source, encoders.encode)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        LatentCache(tmp_path / "file", encoders.recipe()).fill(source, encoders.encode)


def test_the_recipe_lies_beside_its_files_for_people(data: Path, tmp_path: Path, encoders: Encoders) -> None:
    cache = LatentCache(tmp_path / "cache", encoders.recipe())
    encoders.fill(cache, source_of(data))
    told = json.loads((cache.folder / "recipe.json").read_text())
    assert told["vae"] == model_hash(encoders.vae)
    assert told["positions"] == 7
