import csv
from pathlib import Path

import pytest

from paintsundo.checkpoints.text_encoders import load_tokenizer, save_tokenizer
from paintsundo.training.text import drop, hidden_states, new_text_encoder, tokenize
from paintsundo.training.vocabulary import most_frequent_tags, prompt_from_tags, train_tokenizer, write_tags

TEXTS = ["smiling face", "crème brûlée", "face, hat", "smiling cat, hat"] * 2
FOREIGN = ["crème brûlée, face", "Ñandú žluťoučký", "猫と帽子", "12 hats (red)", ""]


def bare(text: str) -> str:
    return "".join(text.lower().split())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    return train_tokenizer(TEXTS, 560, tmp_path_factory.mktemp("tokenizer"))


def test_every_text_can_be_spelt(tokenizer) -> None:
    for text in FOREIGN:
        ids = tokenizer(text).input_ids
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert tokenizer.eos_token_id not in ids[1:-1]  # which is also the unknown token
        assert bare(tokenizer.decode(ids, skip_special_tokens=True)) == bare(text)


def test_words_of_the_training_texts_are_short(tokenizer) -> None:
    assert 514 < len(tokenizer) <= 560
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (len(tokenizer) - 2, len(tokenizer) - 1)
    assert len(tokenizer("smiling face").input_ids) == 2 + 2
    assert len(tokenizer("unheard").input_ids) > 2 + 2


def test_equal_texts_give_equal_vocabularies(tmp_path: Path) -> None:
    texts = ["yellow", "blue", "face", "hat", r"smile \(open\)"] * 2  # full of ties
    files = set()
    for number in range(20):
        folder = tmp_path / str(number)
        train_tokenizer(texts, 900, folder)
        files.add((folder / "vocab.json").read_bytes() + (folder / "merges.txt").read_bytes())
    assert len(files) == 1


def test_saved_tokenizers_read_the_same(tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.model_max_length == 77
    assert (tokenize(again, FOREIGN) == tokenize(tokenizer, FOREIGN)).all()


def test_prompts_are_padded_and_cut(tokenizer) -> None:
    ids = tokenize(tokenizer, ["face", "cat " * 200])
    assert ids.shape == (2, 77)
    assert (ids[0, 3:] == tokenizer.pad_token_id).all()
    assert ids[1, -1] == tokenizer.eos_token_id
    encoder = new_text_encoder(
        tokenizer, {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    )
    assert hidden_states(encoder, ids).shape == (2, 77, 8)
    empty = tokenize(tokenizer, [""])[0]
    kept = drop(ids, empty, ids[:, 5] != tokenizer.pad_token_id)
    assert (kept[0] == ids[0]).all()
    assert (kept[1] == empty).all()


def test_tags_are_counted_once_a_picture_and_written_as_the_tagger_reads_them(tmp_path: Path) -> None:
    metas = [{"tags": ["b", "b", "a"]}, {"tags": ["c", "b"]}, {"tags": ["a"]}, {}]
    assert most_frequent_tags(metas, 2) == [("a", 2), ("b", 2)]
    write_tags([("crème", 5), ("smile_(open)", 2)], tmp_path / "tags.csv")
    with (tmp_path / "tags.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["tag_id", "name", "category", "count"],
            ["0", "crème", "0", "5"],
            ["1", "smile_(open)", "0", "2"],
        ]


def test_prompts_are_spelt_as_the_tagger_does() -> None:
    assert prompt_from_tags(["hat", "smile_(open)", "unknown"], ["smile_(open)", "cat", "hat"]) == (
        r"smile \(open\), hat"
    )
    assert prompt_from_tags([], ["hat"]) == ""
