"""What a picture is there for."""

from __future__ import annotations

TRAIN = "train"
HELDOUT = "heldout"
"""The subject, never trained on."""

CONTROL = "control"
"""Other things, never trained on: what is forgotten shows in them."""

REGULARIZATION = "regularization"
"""The class, or other things: trained on beside the subject, so that they stay what they were."""

TRAINED = (TRAIN, REGULARIZATION)
NEVER_TRAINED = (HELDOUT, CONTROL)


def hashed(role: str) -> str:
    """The word that pins hash: control pictures were called others when the first were made."""
    return "others" if role == CONTROL else role
