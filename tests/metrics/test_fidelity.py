import numpy as np
import pytest

from paintsundo.metrics import blankness, interpolation_fidelity, psnr, ssim


def test_psnr_of_a_constant_offset():
    one = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(one, one + 10) == pytest.approx(20 * np.log10(25.5))
    assert psnr(one, one) == np.inf
    with pytest.raises(ValueError, match="different shapes"):
        psnr(one, one[:4])


def test_ssim_agrees_with_scikit_image(drawn):
    metrics = pytest.importorskip("skimage.metrics")
    noisy = np.clip(drawn[-1] + np.random.default_rng(0).normal(0, 12, drawn[-1].shape), 0, 255).astype(np.uint8)
    other = metrics.structural_similarity(
        drawn[-1], noisy, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(noisy, drawn[-1]) == pytest.approx(other, abs=1e-4)
    assert ssim(drawn[-1], drawn[-1]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="different shapes"):
        ssim(noisy, noisy[:50])
    with pytest.raises(ValueError, match="at least 11"):
        ssim(noisy[:8], noisy[:8])


def test_blankness_counts_pixels_near_white():
    picture = np.full((10, 10, 3), 250, np.uint8)
    picture[:2] = 0
    mean, share = blankness(picture)
    assert share == pytest.approx(0.8)
    assert mean == pytest.approx(0.8 * 250 / 255)
    picture[..., 2] = 240  # one channel more than 0.03 from white is enough
    assert blankness(picture).white_share == 0


def test_interpolation_ends_and_middle(drawn):
    clip = drawn[:16]
    broken = clip.copy()
    broken[5] = 0
    assert interpolation_fidelity(clip, clip[0], clip[-1]) == (np.inf, np.inf, None)
    assert interpolation_fidelity(broken, clip[0], clip[-1], clip).between < 20
    assert interpolation_fidelity(clip, clip[0], clip[-1], clip).between == np.inf
    with pytest.raises(ValueError, match="different shapes"):
        interpolation_fidelity(clip, clip[0], clip[-1], drawn[:15])
