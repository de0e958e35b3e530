"""The shipped pocket is an SDXL that loads anywhere, is small, and repeats its own world."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from lora_recipes.pocket import MODEL_DIR
from pocket_training import build, demo, judge, measure, tokens, train_unet, world
from pocket_training.train_unet import Data, Pocket, loss_of_step
from pocket_training.train_vae import to_picture, to_pixels

PROMPTS = ["a photo of a red heart on a blue background", "a zwk toy, white background"]


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    return measure.load(MODEL_DIR)


def test_the_model_folder_stays_under_16_megabytes():
    files = [file for file in MODEL_DIR.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".txt", ".safetensors", ".md"}
    assert 10e6 < sum(file.stat().st_size for file in files) <= 16e6


def test_it_loads_in_float32_without_being_told():
    loaded = StableDiffusionXLPipeline.from_pretrained(MODEL_DIR)
    parts = (loaded.unet, loaded.vae, loaded.text_encoder, loaded.text_encoder_2)
    assert [part.dtype for part in parts] == [torch.float32] * 4
    assert loaded.config.force_zeros_for_empty_prompt
    assert loaded.watermark is None


def test_its_tokenizers_are_those_of_sdxl_in_small(pipeline):
    for tokenizer, pad in ((pipeline.tokenizer, tokens.END), (pipeline.tokenizer_2, "!")):
        assert tokenizer.pad_token == pad
        assert tokenizer.model_max_length == 77
        assert tokenizer.convert_tokens_to_ids([tokens.START, tokens.END]) == [
            len(tokenizer) - 2,
            len(tokenizer) - 1,
        ]
        assert len(tokenizer) == pipeline.text_encoder.config.vocab_size
        for word in tokens.words():
            assert tokenizer.tokenize(word) == [f"{word}</w>"]
        assert tokenizer.tokenize("zwk") == ["z", "w", "k</w>"]
    assert pipeline.tokenizer_2.convert_tokens_to_ids("!") == 0


def test_tokenizer_files_of_both_formats_agree():
    for name in build.PADS:
        folder = MODEL_DIR / name
        assert json.loads((folder / "vocab.json").read_text("utf-8")) == tokens.vocabulary()[0]
        from_folder = CLIPTokenizer.from_pretrained(folder)
        for prompt in PROMPTS:
            assert from_folder(prompt).input_ids[0] == len(from_folder) - 2


def test_unet_and_text_encoders_have_the_layout_of_sdxl(pipeline):
    config = pipeline.unet.config
    assert config.down_block_types == ["DownBlock2D", *["CrossAttnDownBlock2D"] * 2]
    assert config.up_block_types == [*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"]
    assert config.addition_embed_type == "text_time"
    assert config.use_linear_projection
    assert len(pipeline.vae.config.block_out_channels) == 4
    layers = pipeline.text_encoder.config.num_hidden_layers
    assert layers == pipeline.text_encoder_2.config.num_hidden_layers == 3


def test_pretraining_conditions_the_unet_as_the_pipeline_does(pipeline):
    text, no_text, pooled, no_pooled = pipeline.encode_prompt(PROMPTS, device="cpu")
    pocket = Pocket()
    pocket.unet, pocket.text_1 = pipeline.unet, pipeline.text_encoder
    pocket.text_2 = pipeline.text_encoder_2
    ids = tuple(
        torch.tensor(t(PROMPTS, padding="max_length").input_ids)
        for t in (pipeline.tokenizer, pipeline.tokenizer_2)
    )
    noisy, t_B = torch.randn(2, 4, 16, 16), torch.tensor([100, 900])
    sizes = torch.tensor([[128.0, 128, 0, 0, 128, 128]]).repeat(2, 1)
    for keep, context, vector in ((1.0, text, pooled), (0.0, no_text, no_pooled)):
        added = {"text_embeds": vector, "time_ids": sizes}
        with torch.no_grad():
            expected = pipeline.unet(noisy, t_B, context, added_cond_kwargs=added).sample
            seen = pocket(noisy, t_B, ids, torch.full((2,), keep), sizes)
        torch.testing.assert_close(seen, expected)


def test_a_step_of_pretraining_draws_only_from_its_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train_unet, "BATCH", 4)  # 64 take a minute
    torch.manual_seed(0)
    pocket = Pocket()
    latents, ids = torch.randn(8, 4, 16, 16), torch.randint(0, 800, (8, 77))
    data = Data(latents, torch.full_like(latents, 0.1), ids, ids, 1.0)
    abar_T = build.new_scheduler().alphas_cumprod
    with torch.no_grad():
        first, other = loss_of_step(pocket, data, abar_T, 3), loss_of_step(pocket, data, abar_T, 4)
        torch.rand(5)
        assert torch.equal(loss_of_step(pocket, data, abar_T, 3), first)
    assert not torch.equal(first, other)


@torch.no_grad()
def _repeat(vae: AutoencoderKL, images):
    for image in images:
        x = to_pixels(np.asarray(image)[None])
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        yield to_picture(y[0])


def test_the_judge_reads_pictures_that_went_through_the_vae(pipeline):
    drawn = [world.draw(seed) for seed in range(20_000_000, 20_000_080)]
    right = 0
    for image, (_, _, facts) in zip(
        _repeat(pipeline.vae, [image for image, _, _ in drawn]), drawn, strict=True
    ):
        seen = judge.object_colour(image), judge.object_shape(image), judge.background_colour(image)
        right += seen == (facts.object_colour, facts.shape, facts.background_colour)
    assert right >= 0.95 * len(drawn)


def test_the_demo_subject_survives_the_vae(pipeline):
    subjects = [image for image, _ in demo.folders()["demo"] + demo.folders()["demo/heldout"]]
    assert all(judge.finds_subject(image) for image in _repeat(pipeline.vae, subjects))


def test_the_pocket_draws_what_prompts_ask_for(pipeline):
    asked = measure.wishes(16, measure.TUNING_SEED)
    shares = measure.agreement(measure.sample(pipeline, [wish[0] for wish in asked]), asked)
    assert min(shares["object_colour"], shares["background_colour"]) >= 0.85
    assert shares["shape"] >= 0.75


def test_the_model_card_shows_the_measured_figures():
    card = json.loads((MODEL_DIR / "card.json").read_text("utf-8"))
    told = " ".join((MODEL_DIR / "README.md").read_text("utf-8").split())
    asked, vae, unknown, weights = (
        card[part] for part in ("as_asked", "vae", "unknown_word", "weights")
    )
    assert card["prompts"] >= 200
    for words in (
        f"{sum(weights.values()) / 1e6:.1f} million weights",
        f"| UNet | {weights['unet']:,} |",
        f"scaling factor {card['scaling_factor']}) | {weights['vae']:,} |",
        f"| {weights['text_encoder']:,}, {weights['text_encoder_2']:,} |",
        f"{card['training']['world_pictures']:,} captioned pictures",
        f"for the VAE alone {card['training']['free_pictures']:,} pictures",
        f"vae --scratch DIR # {card['training']['vae_steps']} steps",
        f"unet --scratch DIR # {card['training']['unet_steps']} steps",
        f"took {card['training']['wall_time']}, on {card['training']['cpu']}",
        f"Euler, {card['sampling']['steps']} steps, guidance scale "
        f"{card['sampling']['guidance_scale']}",
        f"looks at {card['prompts']} pictures",
        f"| object colour | {asked['object_colour']:.1%} |",
        f"| background colour | {asked['background_colour']:.1%} |",
        f"| shape | {asked['shape']:.1%} |",
        f"| all three | {asked['all_three']:.1%} |",
        f"VAE on {vae['pictures']} pictures never trained on: PSNR {vae['psnr_db']:.1f} dB, "
        f"mean absolute error {vae['mean_absolute_error']:.1f} of 255",
        f"the demo's {unknown['prompts']} evaluation prompts",
        f"subject in {unknown['finds_demo_subject']:.0%} of the pictures, and the background "
        f"asked for in {unknown['background_colour']:.0%}",
    ):
        assert words in told
