"""What data a run may have."""

from types import SimpleNamespace
from typing import Any

import pytest

from paintsundo.errors import UserError
from paintsundo.training import training_data


def test_tokens_of_an_encoder_that_is_trained_are_not_kept() -> None:
    module: Any = SimpleNamespace(image_encoder=object(), is_frozen=lambda name: False)
    with pytest.raises(UserError, match=r"the image encoder is new: say data\.cache=null"):
        training_data._cache(SimpleNamespace(), module, None, [[64, 64]], None, 0, 1)  # type: ignore[arg-type]
