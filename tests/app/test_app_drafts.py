"""Runs before their work begins: words, cut, settings that are checked, and the list."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from films import drawn
from PIL import Image
from studios import ANNA, BERT, png

from paintsundo.app.run_settings import RunSettings
from paintsundo.app.studio import Studio
from paintsundo.errors import UserError
from tiny_models import MODELS, drawing


class TestBefore:
    def test_words_are_the_taggers(self, studio: Studio) -> None:
        from paintsundo.conditioning import Tagger

        tagger = Tagger.from_pretrained(MODELS[3].split("=", 1)[1])
        assert studio.tag(ANNA, png()) == tagger.tag(drawing())
        assert studio.tag(ANNA, drawing(), RunSettings(model="official", general_threshold=1.0)) != tagger.tag(
            drawing()
        )

    def test_the_preview_dims_what_is_cut_off_and_nothing_else(self, studio: Studio) -> None:
        picture = Image.new("RGB", (120, 60), (200, 0, 0))
        settings = dataclasses.replace(studio.defaults(), width=32, height=32)
        shown = np.asarray(studio.crop_preview(picture, settings))
        kept = (shown == (200, 0, 0)).all(axis=-1)
        assert kept[:, 31:89].all()
        assert not kept[:, :29].any()
        assert not kept[:, 91:].any()
        padded = np.asarray(studio.crop_preview(picture, dataclasses.replace(settings, fit="pad")))
        assert padded.shape == (32, 32, 3)
        assert (padded[0] == 255).all()

    @pytest.mark.parametrize(
        ("change", "part"),
        [
            ({"width": 33}, "multiple of"),
            ({"buckets": [[33, 32]]}, "multiples of"),
            ({"operation_steps": [1000]}, "operation step 1000"),
            ({"operation_steps": []}, "operation_steps is empty"),
            ({"steps": 0}, "num_inference_steps"),
            ({"seed": -1}, "seed"),
            ({"attention_window": "all"}, "attention_window"),
            ({"fit": "stretch"}, "fit"),
            ({"fps": 0.0}, "fps"),
            ({"memory": "much"}, "memory"),
            ({"scheduler": "nobody"}, "no scheduler"),
            ({"model": "nobody"}, "no model"),
            ({"lora": "nobody"}, "no LoRA"),
        ],
    )
    def test_impossible_settings_are_refused_at_once(self, change: dict, part: str, studio: Studio) -> None:
        settings = dataclasses.replace(studio.defaults(), **change)
        with pytest.raises(UserError, match=part):
            studio.create(ANNA, png(), settings)
        assert studio.runs(ANNA) == []
        run_id = studio.create(ANNA, png())
        with pytest.raises(UserError, match=part):
            studio.update(ANNA, run_id, settings)
        assert studio.status(ANNA, run_id).settings == studio.defaults()

    def test_settings_changed_at_the_same_time_all_hold(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        run_id = studio.create(ANNA, png())
        check = studio.check

        def slow(*given: Any) -> None:
            time.sleep(0.2)
            check(*given)

        monkeypatch.setattr(studio, "check", slow)
        changes: list[dict[str, Any]] = [{"seed": 5}, {"steps": 3}, {"prompt": "a boat"}]
        with ThreadPoolExecutor(len(changes)) as pool:
            list(pool.map(lambda change: studio.change(ANNA, run_id, change), changes))
        settings = studio.status(ANNA, run_id).settings
        assert (settings.seed, settings.steps, settings.prompt) == (5, 3, "a boat")

    def test_seeds_are_checked_before_anything_is_lost(self, studio: Studio) -> None:
        run_id = drawn(studio)
        before = studio.status(ANNA, run_id)
        with pytest.raises(UserError, match="too many side by side"):
            studio.start_keyframes(ANNA, run_id, range(9))
        with pytest.raises(UserError, match="seed"):
            studio.start_keyframes(ANNA, run_id, [1, -1])
        assert studio.status(ANNA, run_id).keyframes == before.keyframes
        assert all(keyframe.path.is_file() for keyframe in before.keyframes)

    def test_runs_are_listed_newest_first(self, studio: Studio) -> None:
        made = [studio.create(ANNA, png(), title=f"{number}.png") for number in range(3)]
        studio.keep(ANNA, made[1])
        listed = studio.runs(ANNA)
        assert [summary.run_id for summary in listed] == made[::-1]
        assert [summary.title for summary in listed] == ["2.png", "1.png", "0.png"]
        assert [summary.kept for summary in listed] == [False, True, False]
        assert all(summary.thumbnail.is_file() for summary in listed)
        assert studio.runs(BERT) == []
