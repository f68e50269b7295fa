"""All pictures of one command: checks first, models when needed, one picture after the other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import torch
from PIL import Image

from paintsundo.conditioning.images import open_picture
from paintsundo.errors import UserError
from paintsundo.file_hashes import file_hash
from paintsundo.pipelines.compile_choice import compiles_for
from paintsundo.pipelines.inputs import Inputs, find_pictures
from paintsundo.pipelines.job import Job, make_film, say
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions, KeyframeOptions, VideoOptions
from paintsundo.pipelines.placement import choose_device
from paintsundo.pipelines.run_folder import RunFolder, Settings
from paintsundo.pipelines.spread import SpreadModels, Workers, films, launched, spread_devices


def make_films(options: InferOptions) -> int:
    """Make a film of every picture that `options.input` means.

    Returns:
        0 if all were made (or were there already), 2 if pictures of a folder or pattern were bad.

    Raises:
        UserError: nothing can be made, or the only picture is bad.
    """
    choose_device(options.runtime.device)
    devices = spread_devices(options)
    inputs = _inputs(options)
    if options.keyframes.folder is None and not inputs.many:
        open_picture(inputs.pictures[0][0])  # a bad picture is told before any checkpoint is fetched
    for name in inputs.skipped:
        say(f"skipped {name}: not a picture file")
    group = launched()
    if group is not None:
        _share(inputs, *group)
    if len(devices) > 1 and len(inputs.pictures) == 1:
        spread = SpreadModels(options, devices)
        with spread:
            bad = _one_after_the_other(options, inputs, spread)
    else:
        device = choose_device(devices[0]) if devices else _launched_device(options, group)
        models = ModelSet(options, device)
        # Told by opening all pictures: only where something depends on it.
        counted = len(devices) > 1 or compiles_for(options.runtime.compile, models.device)
        pending = _pending(options, inputs, models) if counted and len(inputs.pictures) > 1 else 1
        models.films = pending
        if len(devices) > 1 and pending > 1:
            bad = _spread(options, inputs, models, devices[:pending])
        else:
            bad = _one_after_the_other(options, inputs, models)
    if bad:
        say(f"{len(inputs.pictures) - len(bad)} of {len(inputs.pictures)} pictures done; not done:")
        for message in bad:
            say(f"  {message}")
    return 2 if bad else 0


def begin_job(options: InferOptions, file: Path, name: str, models: ModelSet) -> Job:
    """A picture's job, its folder made ready.

    Raises:
        UserError: a bad picture, or a place where something else lies.
    """
    job = _job(options, file, name, models)
    job.begin(options)
    return job


def _one_after_the_other(options: InferOptions, inputs: Inputs, models: ModelSet) -> list[str]:
    """Make all films; what is wrong with the pictures that have none."""
    bad: list[str] = []
    for file, name in inputs.pictures:
        try:
            job = begin_job(options, file, name, models)
        except UserError as error:
            if not inputs.many:
                raise
            say(f"error: {error}")
            bad.append(str(error))
            continue
        make_film(job, options, models)
    return bad


def _spread(options: InferOptions, inputs: Inputs, models: ModelSet, devices: list[str]) -> list[str]:
    """The same by a process for each device, in any order."""
    bad: dict[int, str] = {}
    with Workers(options, devices, models.hashes, models.films / len(devices)) as workers:
        for place, mistake in films(workers, inputs.pictures):
            if mistake is not None:
                say(f"error: {mistake}")
                bad[place] = mistake
    return [bad[place] for place in sorted(bad)]


def _pending(options: InferOptions, inputs: Inputs, models: ModelSet) -> int:
    """How many pictures may need work: not those finished before."""
    if options.overwrite:
        return len(inputs.pictures)
    count = 0
    for file, name in inputs.pictures:
        try:
            count += not _job(options, file, name, models).folder.finished(options.video.formats)
        except UserError:
            continue  # told when its turn comes
    return count


def _share(inputs: Inputs, rank: int, processes: int, local_rank: int) -> None:
    """Leave a process of several its share of the pictures."""
    inputs.pictures = inputs.pictures[rank::processes]
    inputs.many = True


def _launched_device(options: InferOptions, group: tuple[int, int, int] | None) -> torch.device | None:
    if group is None or options.runtime.device != "auto" or not torch.cuda.is_available():
        return None
    return choose_device(f"cuda:{group[2]}")


def _inputs(options: InferOptions) -> Inputs:
    if options.input is not None:
        inputs = find_pictures(options.input)
        if options.keyframes.folder is not None and inputs.many:
            raise UserError("keyframes.folder goes with one picture, or without input: it is one film's keyframes")
        return inputs
    folder = Path(str(options.keyframes.folder))
    return Inputs([(folder, folder.resolve().name or "film")])


def _job(options: InferOptions, file: Path, name: str, models: ModelSet) -> Job:
    own: list[Image.Image] | None = None
    if options.keyframes.folder is not None:
        files = _keyframe_files(options.keyframes.folder)
        own = [open_picture(path) for path in files]
        if len(own) < 2:
            raise UserError(
                f"keyframes.folder: {options.keyframes.folder} has {len(own)} pictures; "
                "at least two are needed, the finished picture first and the blank canvas last"
            )
        picture, hashes = own[0], [file_hash(path) for path in files]
    else:
        picture, hashes = open_picture(file), [file_hash(file)]
    assert options.output is not None
    folder = RunFolder(Path(options.output) / name, stage_settings(options, hashes, models))
    return Job(file=file, picture=picture, picture_hashes=hashes, own_keyframes=own, folder=folder)


def _keyframe_files(folder: str) -> list[Path]:
    """Pictures of a folder in the order of their names, numbers in them counted: 2 comes before 10."""
    if not Path(folder).is_dir():
        raise UserError(f"keyframes.folder: the folder {folder} does not exist")
    files = [file for file, _ in find_pictures(folder, "keyframes.folder").pictures]
    return sorted(files, key=_numbered)


def _numbered(file: Path) -> list[str]:
    # Only the numbers are padded: words keep their alphabetical order.
    return [part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]


def stage_settings(options: InferOptions, picture_hashes: list[str], models: ModelSet) -> Settings:
    """Stage → all that decides its result."""
    runtime = {name: getattr(options.runtime, name) for name in ("device", "dtype", "seed_device")}
    if options.runtime.weights != "full":
        runtime["weights"] = options.runtime.weights
    lora = {"lora": models.hash_of("lora"), "lora_scale": options.models.lora_scale}
    keyframes = dataclasses.asdict(options.keyframes)
    keyframes["operation_steps"] = options.keyframes.steps()
    own = keyframes.pop("folder") is not None
    video = dataclasses.asdict(options.video)
    film = {"fps": video.pop("fps")}
    # None of these changes what is computed, or it is in the steps already.
    del video["batch"], video["formats"], keyframes["batch"], keyframes["placement"], keyframes["count"]
    # Newer options are told where they are not as published, so that films made before they came are known again.
    both = ("clip_skip", "noise_schedule")
    for settings, newer in ((keyframes, ("noise", *both)), (video, ("between", "patch_positions", *both))):
        published = dataclasses.asdict(KeyframeOptions() if settings is keyframes else VideoOptions())
        for name in newer:
            if settings[name] == published[name]:
                del settings[name]
    for settings, fast in ((keyframes, options.fast.keyframes), (video, options.fast.video)):
        left_out = fast.settings()
        if left_out is not None:
            settings["fast"] = left_out
    tagging = {"prompt": options.prompt, "tagger": models.hash_of("tagger"), **vars(options.tags)}
    if own:
        keyframes = {}
    else:
        keyframes |= {"single_frame": models.hash_of("single_frame"), **lora, **runtime}
    if options.video.between == "model":
        video |= {"multi_frame": models.hash_of("multi_frame"), **lora, **runtime}
        if options.runtime.dtype == "auto" and options.models.multi_frame_on_cpu != "float32":
            video["on_cpu"] = options.models.multi_frame_on_cpu
    else:
        video = {"between": options.video.between}
    return {
        "keyframes": {"pictures": picture_hashes, **tagging, **keyframes},
        "video": video,
        "film": film,
    }
