"""A captioning model that is loaded, and what it says of a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import (
    BartConfig,
    BartTokenizer,
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
    GenerationConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import logging

from lora_recipes.base.compute import set_up
from lora_recipes.base.fill import read_weights
from lora_recipes.caption.families import BLIP
from lora_recipes.caption.locate import CaptionModel
from lora_recipes.errors import Problem, UserError
from lora_recipes.recipe.sections.compute import Compute

BEAMS = 3
"""Sentences that are followed at once. Source: the demos of BLIP and of Florence-2 take 3."""

UNREPEATED = 3
"""Words in a row that no caption says twice. Source: Florence-2's own generation_config."""


@dataclass(frozen=True)
class Captioner:
    """A captioning model, frozen, in evaluation mode and fp32."""

    model: Any
    processor: Any
    prompt: str
    max_tokens: int
    device: torch.device

    def describe(self, image: Image.Image) -> str:
        """What the model says of a picture: always the same of the same pixels on one device.

        Beams instead of draws; one picture at a time, so that no neighbour matters.

        Args:
            image: RGB, upright, of any size.

        Returns:
            Text as the model has it, with the words that it was to begin with; empty where it
            adds nothing to them.
        """
        given = self.processor(images=image, text=self.prompt or None, return_tensors="pt")
        inputs = {name: value.to(self.device) for name, value in given.items()}
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, generation_config=self._generation())[0]
        tokenizer = self.processor.tokenizer
        begun = inputs["input_ids"].shape[1] - 1 if self._goes_on else 0
        if not tokenizer.decode(tokens[begun:], skip_special_tokens=True).strip():
            return ""
        return str(tokenizer.decode(tokens, skip_special_tokens=True))

    @property
    def _goes_on(self) -> bool:
        """Whether the caption begins with the prompt, instead of answering it."""
        return bool(self.prompt) and isinstance(self.model, BlipForConditionalGeneration)

    def _generation(self) -> GenerationConfig:
        """How words are chosen: as said here, whatever a model's folder may say."""
        text = self.model.config.text_config
        own = {} if isinstance(self.model, BlipForConditionalGeneration) else {
            "decoder_start_token_id": text.decoder_start_token_id,
            "forced_bos_token_id": text.bos_token_id,
            "bos_token_id": text.bos_token_id,
            "eos_token_id": text.eos_token_id,
            "pad_token_id": text.pad_token_id,
        }  # fmt: skip
        return GenerationConfig(
            do_sample=False,
            num_beams=BEAMS,
            early_stopping=True,
            no_repeat_ngram_size=UNREPEATED,
            max_new_tokens=self.max_tokens,
            **own,
        )


def load_captioner(located: CaptionModel, prompt: str, max_tokens: int, device: str) -> Captioner:
    """Load a model's weights and what makes pictures and words ready for it.

    Args:
        located: its files.
        prompt: what it is asked, or the words that captions begin with; empty for none.
        max_tokens: of a caption, at most.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: no such device; the weights or the tokenizer do not fit the configuration.
    """
    place = _device(device)
    logging.disable_progress_bar()
    processor = _processor(located)
    model = _model(located)
    words = len(processor.tokenizer)
    known = model.config.text_config.vocab_size
    if words > known:
        raise UserError.of(
            where=str(located.folder),
            what=f"its tokenizer has {words:,} tokens; the model knows {known:,}",
            fix="fetch the tokenizer's files again, or choose another --model",
        )
    model = model.to(place).requires_grad_(False).eval()
    return Captioner(model, processor, prompt, max_tokens, place)


def _device(name: str) -> torch.device:
    """The device, with torch set up as for a training in fp32.

    No algorithm is refused for having no deterministic form: no gradient is computed here.
    """
    try:
        device = set_up(Compute(device=name, precision="fp32", deterministic=False)).device  # type: ignore[arg-type]
    except UserError as error:
        raise UserError(
            Problem(
                problem.what.replace("compute.device", "--device"),
                problem.fix.replace("compute.device to", "--device"),
                problem.allowed.replace("to train on", "to caption on"),
            )
            for problem in error.problems
        ) from error
    torch.backends.cudnn.deterministic = True
    return device


def _model(located: CaptionModel) -> Any:
    sections = located.config
    kind: Any
    if located.family is BLIP:
        kind = BlipForConditionalGeneration
        config: Any = BlipConfig(**sections)
    else:
        kind = Florence2ForConditionalGeneration
        text = BartConfig(**sections["text_config"])
        vision = sections["vision_config"]
        config = Florence2Config(text_config=text, vision_config=vision, **sections[""])
    try:
        # From tensors, not from the folder: nothing else that lies there is looked at
        model, said = kind.from_pretrained(
            None,
            config=config,
            state_dict=read_weights(located.weights, "--model"),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (RuntimeError, ValueError) as error:
        raise _unfit(located, str(error).strip().splitlines()[0]) from error
    if lost := sorted(said["missing_keys"]):
        raise _unfit(located, f"lack {len(lost):,} of its weights, such as {lost[0]}")
    return model


def _unfit(located: CaptionModel, why: str) -> UserError:
    return UserError.of(
        where=str(located.weights[0]),
        what=f"the weights do not fit {located.family.name}'s configuration beside them: {why}",
        fix="fetch the model again, or choose another --model",
    )


def _processor(located: CaptionModel) -> Any:
    edge = {"height": located.pictures["size"], "width": located.pictures["size"]}
    settings: Mapping[str, Any] = {**located.pictures, "size": edge, "do_resize": True}
    kind: Any = BertTokenizer if located.family is BLIP else BartTokenizer
    try:
        tokenizer = kind.from_pretrained(os.fspath(located.folder), local_files_only=True)
        if located.family is BLIP:
            return BlipProcessor(BlipImageProcessorPil(**settings), tokenizer)
        settings = {"image_seq_length": _image_tokens(located), **settings}
        pictures = CLIPImageProcessorPil(**settings, do_center_crop=False)
        return Florence2Processor(pictures, tokenizer)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise UserError.of(
            where=str(located.folder),
            what=f"cannot be read as {located.family.name}'s tokenizer and picture settings: "
            f"{error}",
            fix="fetch the model's files again, or choose another --model",
        ) from error


def _image_tokens(located: CaptionModel) -> int:
    """What Florence-2 reads of a picture: a token for each place of its last level, and their mean.

    Source: Xiao et al. 2023, arXiv:2311.06242, section 4; 577 at 768 pixels.
    """
    usual = Florence2VisionConfig().patch_stride
    strides: Sequence[int] = located.config["vision_config"].get("patch_stride", usual)
    edge: int = located.pictures["size"] // math.prod(strides)
    return edge**2 + 1
