from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from lora_recipes.base.load import TextEncoders, load_text_encoders
from lora_recipes.encode.text import count, embed, encode_caption
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base
from tests.models import tiny_sdxl

LONG = "red star " * 60
CAPTIONS = ["a photo of zorp", "", "A  RED star!", "!", "é ✓ 1234", LONG]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdxl(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def encoders(folder: Path) -> TextEncoders:
    return load_text_encoders(Base(model=str(folder)), Path(), torch.float32, torch.device("cpu"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> StableDiffusionXLPipeline:
    made = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    # It leaves weights where they lie in the mapped file; a matrix product's last bit depends on
    # how its memory is aligned, so both sides get weights in memory of their own.
    for part in (made.text_encoder, made.text_encoder_2):
        for weight in part.parameters():
            weight.data = weight.data.clone()
    return made


@pytest.mark.parametrize("caption", CAPTIONS)
def test_embeddings_equal_the_pipelines_own_to_the_bit(
    encoders: TextEncoders, pipeline: StableDiffusionXLPipeline, caption: str
) -> None:
    tokens, pooled = embed(encoders, caption)
    with torch.no_grad():
        expected, _, expected_pooled, _ = pipeline.encode_prompt(
            caption, do_classifier_free_guidance=False
        )
    assert tokens.shape == (77, 64)
    assert pooled.shape == (40,)
    assert tokens.dtype == pooled.dtype == torch.float32
    assert torch.equal(tokens, expected[0])
    assert torch.equal(pooled, expected_pooled[0])


def test_different_captions_have_different_embeddings(encoders: TextEncoders) -> None:
    found = [embed(encoders, caption) for caption in CAPTIONS]
    for number, (tokens, pooled) in enumerate(found):
        for other_tokens, other_pooled in found[:number]:
            assert not torch.equal(tokens, other_tokens)
            assert not torch.equal(pooled, other_pooled)


@pytest.mark.parametrize(
    ("caption", "number", "cut"),
    [
        ("", 2, ""),
        ("a photo", 4, ""),
        ("star " * 75, 77, ""),
        ("star " * 75 + "Zorp, on a  ring", 82, "Zorp, on a  ring"),
    ],
)
def test_tokens_are_counted_and_the_words_beyond_the_window_told_as_written(
    encoders: TextEncoders, caption: str, number: int, cut: str
) -> None:
    assert count(encoders.tokenizer, caption) == (number, cut)
    kept = caption.removesuffix(cut) if cut else caption
    assert torch.equal(embed(encoders, caption)[0], embed(encoders, kept)[0])


def test_an_encoder_that_overflows_stops_the_run_with_the_pictures_name(folder: Path) -> None:
    broken = load_text_encoders(Base(model=str(folder)), Path(), torch.float32, torch.device("cpu"))
    broken.text_encoder_2.text_projection.weight.fill_(float("nan"))
    with pytest.raises(UserError) as error:
        encode_caption(broken, "a photo", "photos/x.jpg")
    assert str(error.value) == (
        "photos/x.jpg: the text encoders give NaN or infinity for its caption\n"
        "  fix:     their weights are damaged; fetch base.model again"
    )
