"""Tiny captioning models of transformers' own classes, with random weights, as folders hold them.

What they say makes no sense; that they say something, of each picture something of its own, is
enough to test all around them.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from string import ascii_letters

import torch
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
    PreTrainedModel,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

EDGE = 64
WORDS = "a photo of red blue green dog cat toy ball on the grass beach table two and"


def blip(folder: Path) -> Path:
    """A tiny BLIP for captioning. Built once per process."""
    shutil.copytree(_built(_blip).name, folder, dirs_exist_ok=True)
    return folder


def florence(folder: Path) -> Path:
    """A tiny Florence-2. Built once per process."""
    shutil.copytree(_built(_florence).name, folder, dirs_exist_ok=True)
    return folder


def edit(file: Path, **changes: object) -> None:
    """Change keys of a JSON file; a key of a section as `text_config__vocab_size`."""
    content = json.loads(file.read_text())
    for key, value in changes.items():
        *sections, name = key.split("__")
        place = functools.reduce(lambda place, section: place[section], sections, content)
        if value is None:
            place.pop(name)
        else:
            place[name] = value
    file.write_text(json.dumps(content))


@functools.cache
def _built(make: Callable[[], tuple[PreTrainedModel, object]]) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = make()
        for parameter in model.parameters():  # trained models are louder than new ones
            if parameter.ndim > 1:
                parameter.data.normal_(std=0.3)
    model.save_pretrained(folder.name)
    processor.save_pretrained(folder.name)
    return folder


def _blip() -> tuple[PreTrainedModel, object]:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    tokenizer = BertTokenizer({name: index for index, name in enumerate(names)})
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = BlipConfig(
        text_config={
            **small, "num_attention_heads": 2, "vocab_size": len(names) + 2,
            "bos_token_id": len(names),  # which is in no tokenizer, as of the published BLIPs
            "sep_token_id": 3, "pad_token_id": 0,
            "eos_token_id": 3, "max_position_embeddings": 64,
        },
        vision_config={
            **small, "num_attention_heads": 2, "image_size": EDGE, "patch_size": 16,
        },
    )  # fmt: skip
    pictures = BlipImageProcessorPil(size={"height": EDGE, "width": EDGE})
    model = BlipForConditionalGeneration(config)
    bias = model.text_decoder.cls.predictions.bias.data
    bias[[0, 1, 2, 4, -2, -1]] = -1e4  # what no trained model says
    bias[3] = -4  # [SEP], the end
    return model, BlipProcessor(pictures, tokenizer)


def _florence() -> tuple[PreTrainedModel, object]:
    letters = ["Ġ", *ascii_letters, "."]  # Ġ is a space
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "<image>"]
    tokenizer = BartTokenizer(
        vocab={name: index for index, name in enumerate(names)},
        merges=[],
        extra_special_tokens={"image_token": "<image>"},
    )
    text = BartConfig(
        vocab_size=len(names), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_position_embeddings=256,
    )  # fmt: skip
    vision = {
        "depths": [1, 1, 1, 1], "embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2],
        "num_groups": [1, 1, 2, 2], "window_size": 4, "projection_dim": 16,
    }  # fmt: skip
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=len(names) - 1)
    pictures = CLIPImageProcessorPil(
        size={"height": EDGE, "width": EDGE},
        crop_size={"height": EDGE, "width": EDGE},
        do_center_crop=False,
        image_seq_length=(EDGE // 32) ** 2 + 1,
    )
    return Florence2ForConditionalGeneration(config), Florence2Processor(pictures, tokenizer)
