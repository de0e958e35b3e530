"""Which pictures, and which words go with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lora_recipes.recipe.sections.caption import CaptionSettings
from lora_recipes.recipe.sections.kinds import FOLDER, Allowed, Folder, Name, Short
from lora_recipes.recipe.sections.section import HeaderField, Off, Section

Manifest = Annotated[
    str,
    Field(pattern=r"^(unpinned|sha256:[0-9a-f]{64})$"),
    Allowed("unpinned, or sha256: and 64 hex digits"),
]

Masks = Annotated[
    str,
    Field(pattern=FOLDER),
    Allowed("none, alpha, or the name of a sub-folder, without slashes"),
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

    regularization: Annotated[
        Folder, Off("none"), Short("sub-folder of pictures that keep what the base knows")
    ] = "none"
    """The sub-folder with pictures of the class, or of other things, or `none`.

    They are trained on beside the subject's, so that the base's idea of them stays: a toy that is
    not yours remains any toy. What they show must not be your subject.
    With: kohya's `reg/N_class` folders are understood; a picture without a caption gets
    `dataset.template` without its trigger. `train.prior_loss_weight` says how much they count.
    The base can also make them itself: `prior.images`.
    Source: Ruiz et al. 2023 (DreamBooth), arXiv:2208.12242, section 3.2; kohya-ss/sd-scripts
    (regularization images).
    """

    masks: Annotated[
        Masks,
        Off("none"),
        Short("alpha, or sub-folder of masks: white is learned"),
    ] = "none"
    """Where it stands which part of each picture is learned, or `none`: all of it.

    `alpha`: what is opaque in the picture itself. A sub-folder's name: pictures there of the same
    path and stem (`masks/cat/01.png` for `cat/01.jpg`), of the picture's size or shape; white is
    learned, black is not, grey in part. A picture without a mask is learned whole and named.
    With: `train.masked_loss.*` says how the rest counts. `prepare.background` is what is seen
    where a picture is transparent, the mask what counts. Held-out and control pictures are always
    measured whole.
    Source: kohya-ss/sd-scripts (`alpha_mask`); OneTrainer (`masked_training`).
    """

    flip: Annotated[
        bool,
        Off(False),
        HeaderField("ss_flip_aug"),
        Short("mirror half of the looks; not for writing or one-sided things"),
    ] = False
    """Whether each look at a picture is mirrored, left to right, or not: as a coin falls.

    Twice the pictures for things that look alike from both sides. Never for writing, logos, or
    faces that should be recognised: the mirrored ones are learned as well.
    With: a draw of its own, which changes no other; masks and SDXL's crop go along. Held-out and
    control pictures are never mirrored. Encoding takes twice as long.
    Source: kohya-ss/sd-scripts (`flip_aug`); diffusers (`--random_flip`).
    """
