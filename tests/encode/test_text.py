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


def windows_of(encoders: TextEncoders, name: str, words: int, number: int) -> list[list[int]]:
    """`star` so often in windows as kohya-ss/sd-scripts 48d368f fills them, written out by hand."""
    tokenizer = getattr(encoders, name)
    start, star, end = tokenizer("star").input_ids
    filled = [star] * words + [end] + [tokenizer.pad_token_id] * (75 * number - words - 1)
    found = []
    for window in range(number):
        inner = filled[: 75 * number][75 * window : 75 * window + 75]
        if words < 75 * window:
            inner = [end, *inner[1:]]
        whole = words >= 75 * (window + 1)
        found.append([start, *inner, end if whole else tokenizer.pad_token_id])
    return found


@pytest.mark.parametrize("words", [0, 1, 74, 75, 76, 149, 150, 160, 224, 225, 300])
@pytest.mark.parametrize("max_tokens", [150, 225])
def test_windows_are_encoded_one_by_one_and_joined_between_one_start_and_one_end(
    encoders: TextEncoders, words: int, max_tokens: int
) -> None:
    number = max_tokens // 75
    words_read = min(words, max_tokens)
    tokens, pooled = embed(encoders, "star " * words, max_tokens)
    first = windows_of(encoders, "tokenizer", words_read, number)
    second = windows_of(encoders, "tokenizer_2", words_read, number)
    states, pooleds = [], []
    with torch.no_grad():
        for ids, ids_2 in zip(first, second, strict=True):
            one = encoders.text_encoder(torch.tensor([ids]), output_hidden_states=True)
            two = encoders.text_encoder_2(torch.tensor([ids_2]), output_hidden_states=True)
            both = (one.hidden_states[-2], two.hidden_states[-2])
            states.append(torch.concat(both, dim=-1)[0])
            pooleds.append(two.text_embeds[0])
    inner = [state[1:-1] for state in states]
    expected = torch.concat([states[0][:1], *inner, states[-1][-1:]])
    assert tokens.shape == (max_tokens + 2, 64)
    assert torch.equal(tokens, expected)
    assert torch.equal(pooled, pooleds[0])


def test_a_short_caption_begins_as_it_does_in_one_window(encoders: TextEncoders) -> None:
    for caption in ("a photo of zorp", "", "!"):
        tokens, pooled = embed(encoders, caption)
        longer, same = embed(encoders, caption, 225)
        assert torch.equal(longer[:76], tokens[:76])
        assert torch.equal(pooled, same)


def test_an_exclamation_mark_at_the_edge_of_a_window_is_a_word(encoders: TextEncoders) -> None:
    """It is what SDXL's second tokenizer fills up with."""
    found = [embed(encoders, text, 150)[0] for text in (
        "star " * 74 + "!", "star " * 75, "star " * 75 + "! star", "star " * 75 + "star star",
    )]  # fmt: skip
    for number, tokens in enumerate(found):
        assert all(not torch.equal(tokens, other) for other in found[:number])
    whole, marked = (
        embed(encoders, "star " * 75, 150)[1],
        embed(encoders, "star " * 74 + "!", 150)[1],
    )
    assert not torch.equal(whole, marked)


@pytest.mark.parametrize(
    ("max_tokens", "caption", "number", "cut"),
    [
        (150, "star " * 150, 152, ""),
        (150, "star " * 150 + "red on", 154, "red on"),
        (225, "star " * 225 + "red", 228, "red"),
    ],
)
def test_what_is_beyond_several_windows_is_told(
    encoders: TextEncoders, max_tokens: int, caption: str, number: int, cut: str
) -> None:
    assert count(encoders.tokenizer, caption, max_tokens) == (number, cut)
