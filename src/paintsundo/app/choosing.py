"""What can be chosen, and what can be asked of a picture before there is a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PIL import Image

from paintsundo.app.engine import Engine, Picture
from paintsundo.app.faults import NotThere
from paintsundo.app.run_settings import RunSettings, scheduler_names
from paintsundo.app.state import ModelChoice
from paintsundo.pipelines.keyframe_placement import PLACEMENTS, placed_steps

_EXAMPLES = (".png", ".jpg", ".jpeg", ".webp")


class Choosing(Engine):
    """Models, samplers, presets, examples; words, sizes and previews of a picture."""

    def models(self) -> list[ModelChoice]:
        """Models that a run can be made with, the server's own first."""
        return self.model_choices.choices()

    def loras(self) -> list[str]:
        """Names of adapters for `RunSettings.lora`."""
        return self.model_choices.loras()

    def schedulers(self) -> list[str]:
        """Names for `RunSettings.scheduler` and `video_scheduler`."""
        return list(scheduler_names())

    def placements(self) -> list[str]:
        """Presets of operation steps, for `placed`."""
        return [name for name in PLACEMENTS if name != "listed"]

    def placed(self, placement: str, count: int) -> list[int]:
        """Operation steps of a preset."""
        return placed_steps(placement, min(count, self.limits.keyframes_count + 1))

    def defaults(self, model: str | None = None) -> RunSettings:
        """What suits a model (the server's own by default)."""
        return self.model_choices.defaults(model or self.options.models.name)

    def size_multiple(self, model: str | None = None) -> int:
        """Both sides of a keyframe are multiples of this."""
        return self.model_choices.multiples(model or self.options.models.name)[0]

    def film_multiple(self, model: str | None = None) -> int:
        """Both sides of the film are multiples of this."""
        return self.model_choices.multiples(model or self.options.models.name)[1]

    def examples(self) -> list[Path]:
        """Pictures to try."""
        given = self.options.choices.examples
        folder = Path(__file__).resolve().parents[3] / "examples" if given is None else Path(given)
        if not folder.is_dir():
            return []
        return sorted(file for file in folder.iterdir() if file.suffix.lower() in _EXAMPLES and file.is_file())

    def example(self, name: str) -> Path:
        """The example of this name."""
        for file in self.examples():
            if file.name == name:
                return file
        raise NotThere("there is no such example")

    def picture(self, upload: Picture) -> Image.Image:
        """A checked upload as RGB."""
        return self._read(upload).image

    def tag(self, user: str, picture: Picture, settings: RunSettings | None = None) -> str:
        """The tagger's words for a picture, separated by commas."""
        settings = settings or self.defaults()
        options = self.model_choices.base(settings.model)
        image = picture if isinstance(picture, Image.Image) else self.picture(picture)
        tagger = self.model_choices.loaded.tagger(options)
        return tagger.tag(image.convert("RGB"), settings.general_threshold, settings.character_threshold)

    def tag_run(self, user: str, run_id: str) -> str:
        """The tagger's words for a run's picture."""
        run = self.store.open(user, run_id)
        return self.tag(user, run.original.read_bytes(), run.record.settings)

    def suggest_size(self, picture: Image.Image, model: str | None = None) -> tuple[int, int]:
        """(width, height) of the picture's shape, with about as many pixels as the model's own size."""
        settings = dataclasses.replace(self.defaults(model), width=None, height=None)
        resolved = self.resolved(settings, picture.width, picture.height)
        return int(resolved.width or 0), int(resolved.height or 0)

    def crop_preview(self, picture: Image.Image, settings: RunSettings, side: int = 512) -> Image.Image:
        """The picture, what will be cut off dimmed (`fit="crop"`), or white around it (`fit="pad"`)."""
        from paintsundo.app.cropping import crop_preview

        resolved = self.resolved(settings, picture.width, picture.height)
        return crop_preview(picture, int(resolved.width or 1), int(resolved.height or 1), resolved.fit, side)
