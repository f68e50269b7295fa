import io
import pickle
import tracemalloc
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

import mixed_sizes
from paintsundo.data import frame_archive
from paintsundo.data.frame_archive import FrameArchive, Whole
from paintsundo.data.frames import FrameProcess, FrameWriter, changed_box
from paintsundo.data.process import Span


def canvases(count: int, height: int = 40, width: int = 56, seed: int = 0) -> list[np.ndarray]:
    """A white canvas and what becomes of it by strokes, all different."""
    random = np.random.default_rng(seed)
    made = [np.full((height, width, 3), 255, np.uint8)]
    for number in range(1, count):
        canvas = made[-1].copy()
        ends = random.integers(0, min(height, width), 4)
        cv2.line(canvas, ends[:2].tolist(), ends[2:].tolist(), random.integers(0, 250, 3).tolist(), 3, cv2.LINE_AA)
        canvas[number % height, number % width] = number % 251
        made.append(canvas)
    return made


def written(pictures: list[np.ndarray], works: list[float] | None = None, **options: object) -> FrameProcess:
    writer = FrameWriter(pictures[0].shape[:2], **options)
    for number, picture in enumerate(pictures):
        writer.add(picture, float(number) if works is None else works[number])
    return writer.finish()


class Counting:
    """Bytes that remember what is read of them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.bytes = data, 0

    def read(self, begin: int, end: int) -> bytes:
        part = self.data[begin:end]
        self.bytes += len(part)
        return part


def test_every_state_comes_back_exactly_in_any_order() -> None:
    pictures = canvases(60)
    process = written(pictures)
    assert len(process) == 60
    assert process.size == (40, 56)
    for number in [*np.random.default_rng(1).permutation(60).tolist(), 0, 59, 1, 2, 2, 30, 31, 29]:
        assert (process.frame(number) == pictures[number]).all()
    assert (process.finished == pictures[-1]).all()
    for outside in (-1, 60):
        with pytest.raises(IndexError):
            process.frame(outside)


def test_what_is_returned_can_be_painted_on() -> None:
    pictures = canvases(20)
    process = written(pictures)
    for number in (3, 4, 9, 9):
        process.frame(number)[:] = 0
        assert (process.frame(number) == pictures[number]).all()


def test_states_are_held_until_the_next_and_work_is_brought_to_one() -> None:
    pictures = canvases(5)
    process = written(pictures, [100.0, 101.0, 104.0, 108.0, 110.0])
    assert process.works.tolist() == [0.0, 0.1, 0.4, 0.8, 1.0]
    for work, number in ((0.0, 0), (0.0999, 0), (0.1, 1), (0.39, 1), (0.4, 2), (0.99, 3), (1.0, 4)):
        assert (process.state(work) == pictures[number]).all()
    assert (process.state_at_step(999) == 255).all()
    assert (process.state_at_step(0) == pictures[-1]).all()
    film = process.film([1.0, 0.05, 0.5, 1.0])
    assert (film == np.stack([pictures[k] for k in (4, 0, 2, 4)])).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        process.state(1.01)


@pytest.mark.parametrize("key_every", [1, 4, 16])
def test_a_state_decodes_no_more_than_a_few_patches(monkeypatch: pytest.MonkeyPatch, key_every: int) -> None:
    process = mixed_sizes.recording(0, 64, 64, states=300, key_every=key_every)
    source = Counting(process.archive)
    process = replace(process, frames=FrameArchive(source))
    index = len(process.frames.index_bytes)
    decoded = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *args: (decoded.append(1), decode(*args))[1])
    most = 0
    for number in np.random.default_rng(0).permutation(len(process)).tolist():
        decoded.clear()
        process.frame(number)
        most = max(most, len(decoded))
    assert most == key_every
    decoded.clear()
    fresh = replace(process)
    fresh.film([*fresh.works, *fresh.works])
    assert len(decoded) == len(process)  # going forward each patch once, however often it is seen
    source.bytes = 0
    decoded.clear()
    _ = replace(process).finished
    assert len(decoded) == 1  # every sample shows it
    assert source.bytes < index / 5


def test_equal_pictures_are_dropped_and_equal_work_keeps_the_last() -> None:
    white, *others = canvases(5)
    writer = FrameWriter((40, 56))
    assert writer.add(white, 3.0)
    assert not writer.add(white, 4.0)
    assert not writer.add(others[0], 3.0)  # nothing takes the blank canvas's place
    assert writer.add(others[0], 5.0)
    assert writer.add(others[1], 5.0)
    assert not writer.add(others[1], 6.0)
    assert writer.add(others[2], 7.0)
    assert writer.add(others[1], 7.0)  # and back: as if nothing had been
    assert writer.add(others[3], 9.0, "done")
    process = writer.finish(subject="a", extra={"b": 1})
    assert process.works.tolist() == [0.0, 1 / 3, 1.0]
    assert process.labels == ("", "", "done")
    for number, picture in enumerate((white, others[1], others[3])):
        assert (process.frame(number) == picture).all()
    assert (process.subject, process.extra) == ("a", {"b": 1})


def test_what_cannot_be_a_process_is_refused() -> None:
    white, other, *_ = canvases(3)
    writer = FrameWriter((40, 56))
    writer.add(white, 1.0)
    with pytest.raises(ValueError, match="nothing is drawn"):
        writer.finish()
    writer = FrameWriter((40, 56))
    writer.add(white, 1.0)
    writer.add(other, 2.0)
    for wrong, work, told in (
        (other, 1.5, "less than"),
        (other, float("nan"), "less than"),
        (other[:-1], 3.0, "must be uint8"),
        (other.astype(np.int32), 3.0, "must be uint8"),
    ):
        with pytest.raises(ValueError, match=told):
            writer.add(wrong, work)
    for options in ({"quality": 0}, {"quality": 101}, {"key_every": 0}):
        with pytest.raises(ValueError, match="no such frames"):
            FrameWriter((40, 56), **options)


def test_the_callers_canvas_is_not_kept() -> None:
    pictures = canvases(12)
    writer, canvas = FrameWriter((40, 56)), np.empty_like(pictures[0])
    for number, picture in enumerate(pictures):
        canvas[:] = picture
        writer.add(canvas, number)
    canvas[:] = 0
    process = writer.finish()
    assert all((process.frame(number) == picture).all() for number, picture in enumerate(pictures))


@pytest.mark.parametrize("place", [(0, 0, 1, 1), (39, 55, 40, 56), (3, 5, 17, 9), (0, 10, 40, 11)])
@pytest.mark.parametrize("channels", [(0,), (1,), (2,), (0, 2)])
def test_the_changed_box_is_the_smallest(place: tuple[int, int, int, int], channels: tuple[int, ...]) -> None:
    before = np.random.default_rng(0).integers(0, 200, (40, 56, 3)).astype(np.uint8)
    top, left, bottom, right = place
    after = before.copy()
    for channel in channels:
        after[top, left, channel] += 1
        after[bottom - 1, right - 1, channel] += 2
    assert changed_box(before, after) == (top, left, bottom - top, right - left)


def test_equal_input_gives_equal_bytes_in_an_ordinary_zip() -> None:
    process = mixed_sizes.recording(3, 48, 32)
    assert process.archive == mixed_sizes.recording(3, 48, 32).archive
    assert process.archive == pickle.loads(pickle.dumps(process)).archive
    assert process == mixed_sizes.recording(3, 48, 32)
    assert process != mixed_sizes.recording(4, 48, 32)
    with zipfile.ZipFile(io.BytesIO(process.archive)) as file:
        assert file.testzip() is None
        assert len(file.namelist()) == len(process) + 1
        assert {member.compress_type for member in file.infolist()} == {zipfile.ZIP_STORED}
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        last = cv2.imdecode(np.frombuffer(file.read(file.namelist()[-1]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert (last == process.finished).all()


def test_lossy_states_stay_near_and_the_blank_canvas_stays_blank() -> None:
    smooth = [cv2.GaussianBlur(picture, (0, 0), 3) for picture in canvases(40, 96, 128)]
    smooth[0][:] = (250, 249, 240)
    for number, picture in enumerate(smooth[1:]):
        picture[:20, 5 * (number % 20)] = 0
    lossless, lossy = written(smooth), written(smooth, quality=90)
    assert len(lossy.archive) < 0.8 * len(lossless.archive)
    assert (lossy.frame(0) == smooth[0]).all()
    errors = [np.abs(lossy.frame(k).astype(int) - picture).mean() for k, picture in enumerate(smooth)]
    assert max(errors) < 4
    assert lossy.faults() == []


def test_labels_become_spans() -> None:
    writer = FrameWriter((40, 56))
    labels = ["", "sketch", "sketch", "", "flats", "sketch", "sketch"]
    for number, (picture, label) in enumerate(zip(canvases(7), labels, strict=True)):
        writer.add(picture, number, label)
    spans = writer.finish().spans()
    assert [span.name for span in spans] == ["sketch", "flats", "sketch"]
    assert [(round(6 * begin), round(6 * end)) for _, begin, end in spans] == [(0, 2), (3, 4), (4, 6)]
    assert isinstance(spans[0], Span)
    assert written(canvases(4)).spans() == ()


def test_a_sound_process_has_no_faults() -> None:
    assert mixed_sizes.recording(1, 40, 40).faults() == []


def test_faults_are_named() -> None:
    pictures = canvases(6)
    assert written([pictures[2], *pictures[3:]]).faults() == ["the first state is not a blank canvas of one colour"]
    assert written([pictures[0], pictures[1], np.full_like(pictures[0], 7)]).faults() == [
        "the finished picture is blank"
    ]

    process = written(pictures)

    def of_works(works: list[float]) -> list[str]:
        index = process.frames._index
        boxes = [tuple(patch[:4]) for patch in index.patches]
        patches = [
            process.archive[begin : begin + patch.size]
            for begin, patch in zip(index.begins, index.patches, strict=True)
        ]
        return FrameProcess(frame_archive.pack(process.size, works, [""] * 6, boxes, patches)).faults()

    assert of_works([0, 0.2, 0.4, 0.6, 0.8, 1]) == []
    assert of_works([0, 0.2, 0.4, 0.3, 0.8, 1]) == ["the work done does not ascend"]
    assert of_works([0, 0.2, 0.2, 0.3, 0.8, 1]) == ["the work done does not ascend"]
    assert of_works([0.1, 0.2, 0.3, 0.4, 0.8, 1]) == ["the work done does not run from 0 to 1"]
    assert of_works([0, 0.2, 0.3, 0.4, 0.8, 0.9]) == ["the work done does not run from 0 to 1"]


@pytest.mark.parametrize("number", [0, 5, 20])
def test_a_damaged_patch_is_noticed_where_it_matters(number: int) -> None:
    pictures = canvases(40)
    process = written(pictures)
    archive = bytearray(process.archive)
    index = process.frames._index
    archive[index.begins[number] + index.patches[number].size // 2] ^= 1
    damaged = replace(process, frames=FrameArchive(Whole(bytes(archive))))
    assert damaged.faults() == [f"state {number} is not as it was written (checksum)"]
    with pytest.raises(ValueError, match="checksum"):
        damaged.frames.check()
    end = number - number % 16 + 16
    for other in range(40):
        if number <= other < end:
            with pytest.raises(ValueError, match=f"state {number} is not as it was written"):
                damaged.frame(other)
        else:
            assert (damaged.frame(other) == pictures[other]).all()


def test_patches_of_a_wrong_size_or_kind_are_refused() -> None:
    boxes = [(0, 0, 8, 8), (2, 2, 3, 3)]
    white = cv2.imencode(".png", np.full((8, 8, 3), 255, np.uint8))[1].tobytes()
    for patch in (white, b"no picture"):
        process = FrameProcess(frame_archive.pack((8, 8), [0, 1], ["", ""], boxes, [white, patch]))
        assert process.faults() == ["state 1 cannot be decoded"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda archive: b"",
        lambda archive: archive[:25],
        lambda archive: archive[:300],
        lambda archive: b"RK" + archive[2:],
        lambda archive: archive.replace(b'"format":1', b'"format":9', 1),
        lambda archive: archive.replace(b'"height":40', b'"height":20', 1),
        lambda archive: archive.replace(b'"works":[0.0,', b'"works":[     ', 1),
        lambda archive: archive.replace(b'"labels"', b'"labils"', 1),
    ],
)
def test_a_damaged_index_is_one_line(spoil) -> None:  # type: ignore[no-untyped-def]
    process = FrameProcess(FrameArchive(Whole(spoil(written(canvases(10)).archive))))
    faults = process.faults()
    assert len(faults) == 1
    assert "\n" not in faults[0]
    with pytest.raises(ValueError, match="its states"):
        process.state(1.0)


def test_memory_does_not_grow_with_the_states() -> None:
    def peak(states: int) -> tuple[int, int]:
        writer, canvas = FrameWriter((256, 256)), np.full((256, 256, 3), 255, np.uint8)
        tracemalloc.start()
        for number in range(states):
            canvas[number % 256, number // 256] = 7
            writer.add(canvas, number)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, len(writer.finish().archive)

    peak(4)
    (few, small), (many, large) = peak(30), peak(600)
    assert many - few < 2 * (large - small)
    assert many < 8 * 256 * 256 * 3
