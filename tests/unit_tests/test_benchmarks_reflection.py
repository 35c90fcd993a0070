"""When a card counts as what a preference says."""

import numpy as np
import pytest

from benchmarks.reflection import recovers

PREFERENCE = "I avoid hotels in high-rise buildings."


@pytest.mark.parametrize(
    ("text", "cosine", "right"),
    [
        ("Avoids high-rise hotels.", 0.8, True),
        ("Likes hotels in high-rise buildings.", 0.9, False),  # the opposite, whatever the embedding says
        ("Prefers low houses.", 0.6, True),
        ("Travels often.", 0.2, False),
    ],
)
def test_a_near_card_that_is_no_inversion_recovers_a_preference(text, cosine, right):
    rows = np.array([[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5]])
    assert recovers(PREFERENCE, [text], lambda texts: rows) == (right, f"{cosine:.2f} {text}")
    assert recovers(PREFERENCE, [], lambda texts: rows) == (False, "no card")
