import cv2
import numpy as np
import pytest
import torch

from paintsundo.conditioning import crop_notice, crop_to, open_picture, pad_to, to_model, to_uint8


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("index", "width", "height"), [(0, 64, 96), (1, 96, 64), (2, 128, 192), (3, 50, 37)])
def test_cropping_is_the_published_one(golden, golden_folder, index, width, height):
    image = np.asarray(open_picture(golden_folder / "image.png"))
    assert np.array_equal(crop_to(image, width, height), golden[f"crop.{index}"].numpy())


@pytest.mark.parametrize("function", [crop_to, pad_to])
@pytest.mark.parametrize("source", [(8, 8), (301, 217), (217, 301), (80, 8), (512, 512), (1000, 999)])
@pytest.mark.parametrize("target", [(512, 640), (64, 96), (8, 8), (37, 50), (96, 64)])
def test_the_result_has_the_size_asked_for(function, source, target):
    result = function(noise(*source), *target)
    assert result.shape == (target[1], target[0], 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("function", [crop_to, pad_to])
def test_a_picture_of_the_right_size_is_left_alone(function):
    assert np.array_equal(function(noise(40, 30), 30, 40), noise(40, 30))


def test_cropping_keeps_the_centre():
    image = noise(20, 50)
    assert np.array_equal(crop_to(image, 20, 20), image[:, 15:35])
    assert np.array_equal(crop_to(image, 21, 20), image[:, 14:35])  # (50 - 21) // 2


def test_scaled_sides_are_rounded():
    image = noise(40, 27)  # covered by 20x20 at 29.63 rows, fitted at 13.5 columns (Python rounds to even: 14)
    covering = cv2.resize(image, (20, 30), interpolation=cv2.INTER_AREA)
    assert np.array_equal(crop_to(image, 20, 20), covering[5:25])
    fitting = cv2.resize(image, (14, 20), interpolation=cv2.INTER_AREA)
    assert np.array_equal(pad_to(image, 20, 20)[:, 3:17], fitting)


def test_padding_keeps_all_and_centres_it_on_white():
    image = noise(20, 50)
    padded = pad_to(image, 50, 41)
    assert np.array_equal(padded[10:30], image)
    assert (padded[:10] == 255).all()
    assert (padded[30:] == 255).all()


def test_crop_notice_says_what_is_lost():
    assert crop_notice(noise(40, 30), 60, 80) is None
    assert crop_notice(noise(641, 512), 512, 640) is None  # a fifth of a percent
    assert crop_notice(noise(20, 40), 20, 20) == (
        "cropped from 40x20 to the shape of 20x20: 50 % of the width is cut off"
    )
    assert "20 % of the height" in crop_notice(noise(500, 400), 40, 40)


def test_to_model_and_back():
    image = noise(6, 5)
    tensor = to_model(image)
    assert tensor.shape == (3, 6, 5)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1)
    assert to_model(np.stack([image, image])).shape == (2, 3, 6, 5)


def test_to_uint8_truncates_and_clamps():
    values = torch.tensor([-9.0, -1.0, -0.999, 0.0, 0.5, 0.999, 1.0, 9.0])
    result = to_uint8(values.reshape(1, 1, 8).expand(3, 1, 8))
    # 127.5 * y + 127.5 = 0.1275, 127.5, 191.25, 254.87
    assert result[0, :, 0].tolist() == [0, 0, 0, 127, 191, 254, 255, 255]
    assert result.shape == (1, 8, 3)
    assert to_uint8(torch.zeros(2, 3, 4, 5)).shape == (2, 4, 5, 3)
    assert to_uint8(torch.zeros(3, 4, 5, dtype=torch.bfloat16)).dtype == np.uint8


def test_every_level_survives_the_way_there_and_back_up_to_truncation():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    back = to_uint8(to_model(levels)).astype(int)
    assert np.abs(back - levels).max() <= 1


def test_values_that_are_no_numbers_are_an_error_not_a_black_picture():
    with pytest.raises(FloatingPointError, match="not numbers"):
        to_uint8(torch.full((3, 2, 2), float("nan")))
