"""Which pictures, and which words go with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lora_recipes.recipe.sections.caption import CaptionSettings
from lora_recipes.recipe.sections.kinds import Allowed, Folder, Name, Short
from lora_recipes.recipe.sections.section import Off, Section

Manifest = Annotated[
    str,
    Field(pattern=r"^(unpinned|sha256:[0-9a-f]{64})$"),
    Allowed("unpinned, or sha256: and 64 hex digits"),
]


class Dataset(Section):
    """Which pictures (a hash; params.yaml says where they lie) and which words go with them."""

    manifest: Annotated[Manifest, Short("the data's hash; the command pin writes it")] = "unpinned"
    """The hash of the data that this recipe is meant for, or `unpinned`.

    With: the command `pin` writes it. If the data differ from it, the dataset stage fails and
    names the files; unpinned data run with a warning.
    Source: this project.
    """

    trigger: Annotated[Name, Off("none"), Short("the word for your subject")] = "none"
    """The word that will stand for the subject, or `none`.

    A rare word is best: one that the base model has no picture of.
    With: fills `{trigger}` in `dataset.template` and `sample.prompts`; images with a caption of
    their own keep it.
    Source: Ruiz et al. 2023 (DreamBooth), arXiv:2208.12242, section 3.2.
    """

    class_word: Annotated[Name, Off("none"), Short("what kind of thing it is")] = "none"
    """What kind of thing the subject is (dog, toy, person), or `none`.

    With: fills `{class_word}` in `dataset.template` and `sample.prompts`.
    Source: Ruiz et al. 2023 (DreamBooth), arXiv:2208.12242, section 3.2.
    """

    template: Annotated[Name, Short("the caption of images without one")] = (
        "a photo of {trigger} {class_word}"
    )
    """The caption of images that have none of their own.

    With: may use `{trigger}` and `{class_word}`. Not used for an image with a caption file, a
    line in metadata.jsonl or a `N_name` folder.
    Source: diffusers, examples/dreambooth/README_sdxl.md (`--instance_prompt`).
    """

    caption: Annotated[CaptionSettings, Short("tags, several captions, words around them")] = (
        CaptionSettings()
    )
    """What becomes of captions. Source: kohya-ss/sd-scripts."""

    heldout: Annotated[Folder, Off("none"), Short("sub-folder of pictures never trained on")] = (
        "none"
    )
    """The sub-folder with pictures of the subject that are never trained on, or `none`.

    With: gives the metrics "did it learn?"; absent, they are absent too.
    Source: spacepxl/demystifying-sd-finetuning (held-out loss).
    """

    control: Annotated[Folder, Off("none"), Short("sub-folder of pictures of other things")] = (
        "none"
    )
    """The sub-folder with pictures of other things, never trained on, or `none`.

    With: gives the metrics "did it forget?"; absent, they are absent too.
    Source: Ruiz et al. 2023 (DreamBooth), arXiv:2208.12242, section 3.3 (language drift).
    """
