"""What a picture is there for. The words stand in manifests, and pins hash them."""

from __future__ import annotations

TRAIN = "train"
HELDOUT = "heldout"
"""The subject, never trained on."""

OTHERS = "others"
"""Other things, never trained on: what is forgotten shows in them."""

ROLES = (TRAIN, HELDOUT, OTHERS)
NEVER_TRAINED = (HELDOUT, OTHERS)
