"""Which of a picture's texts a look at it takes: a function of the look's place in the stream.

Each choice has draws of its own, so switching one on moves no noise, no timestep and no other
choice; and neither workers nor processes nor a resume can change one.
"""

from __future__ import annotations

from dataclasses import dataclass

from lora_recipes.dataset.roles import TRAIN
from lora_recipes.diffusion import draws
from lora_recipes.encode.store import EncodedIndex, Example
from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.data.stream import TrainingSample


@dataclass(frozen=True)
class Choice:
    """What is drawn for each look at a picture before it becomes a part of a batch."""

    seed: int
    caption_dropout: float = 0.0
    """How often a look at a picture that is trained on gets the empty text, from 0 to 1."""

    empty_text: str = ""
    """The file of the empty text."""

    @classmethod
    def of(cls, train: Train, index: EncodedIndex) -> Choice:
        """What a recipe asks for."""
        return cls(train.seed, train.caption_dropout, index.empty_text)

    def text_of(self, example: Example, sample: TrainingSample) -> str:
        """The file of the text that goes with one look at a picture.

        A dropped caption is the empty text, encoded, as kohya has it; zeros are SDXL's word for an
        absent negative prompt.
        """
        if example.role == TRAIN and self._drops(sample):
            return self.empty_text
        if len(example.texts) == 1:
            return example.texts[0]
        number = draws.integers(len(example.texts), self.seed, "caption", [sample.position])
        return example.texts[int(number)]

    def _drops(self, sample: TrainingSample) -> bool:
        if self.caption_dropout == 0:
            return False
        assert self.empty_text, "the encode stage writes the empty text's embeddings"
        return draws.happens(self.caption_dropout, self.seed, "caption_dropout", sample.position)
