import pytest

from paintsundo.conditioning import choose_bucket


def test_buckets_are_the_published_choice(golden):
    for height, width, bucket_height, bucket_width in golden["bucket.cases"].tolist():
        assert choose_bucket(height, width) == (bucket_height, bucket_width)


def test_ties_go_to_the_later_bucket():
    assert choose_bucket(100, 100, [[200, 300], [300, 200]]) == (300, 200)
    assert choose_bucket(100, 100, [[300, 200], [200, 300]]) == (200, 300)


@pytest.mark.parametrize(("height", "width"), [(640, 512), (512, 640), (1, 1)])
def test_a_single_bucket_is_always_chosen(height, width):
    assert choose_bucket(height, width, [[192, 256]]) == (192, 256)
