"""What a picture is there for."""

from __future__ import annotations

from lora_recipes.recipe.sections.dataset import Dataset

TRAIN = "train"
HELDOUT = "heldout"
"""The subject, never trained on."""

CONTROL = "control"
"""Other things, never trained on: what is forgotten shows in them."""

REGULARIZATION = "regularization"
"""The class, or other things: trained on beside the subject, so that they stay what they were."""

MASK = "mask"
"""No picture to learn, but which part of one is learned."""

ALPHA = "alpha"
"""In place of a folder of masks: pictures are their own."""

KEYS = {
    HELDOUT: "dataset.heldout",
    CONTROL: "dataset.control",
    REGULARIZATION: "dataset.regularization",
    MASK: "dataset.masks",
}
"""What names each role's sub-folder."""

TRAINED = (TRAIN, REGULARIZATION)
NEVER_TRAINED = (HELDOUT, CONTROL)


def folders(dataset: Dataset) -> dict[str, str]:
    """The sub-folder of each role that can have one; `none` where it has not."""
    masks = "none" if dataset.masks == ALPHA else dataset.masks
    return {
        HELDOUT: dataset.heldout,
        CONTROL: dataset.control,
        REGULARIZATION: dataset.regularization,
        MASK: masks,
    }


def hashed(role: str) -> str:
    """The word that pins hash: control pictures were called others when the first were made."""
    return "others" if role == CONTROL else role
