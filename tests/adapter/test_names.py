"""Names in adapter files stand for modules one to one."""

from __future__ import annotations

import pytest

from lora_recipes.adapter.inject import target_modules
from lora_recipes.adapter.names import diffusers_name, kohya_name
from tests.adapter.tiny import tiny_unet


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        ),
        ("down_blocks.2.attentions.1.proj_in", "lora_unet_input_blocks_8_1_proj_in"),
        (
            "mid_block.attentions.0.transformer_blocks.9.attn2.to_out.0",
            "lora_unet_middle_block_1_transformer_blocks_9_attn2_to_out_0",
        ),
        (
            "up_blocks.0.attentions.2.transformer_blocks.3.ff.net.0.proj",
            "lora_unet_output_blocks_2_1_transformer_blocks_3_ff_net_0_proj",
        ),
        (
            "up_blocks.1.attentions.0.transformer_blocks.1.ff.net.2",
            "lora_unet_output_blocks_3_1_transformer_blocks_1_ff_net_2",
        ),
    ],
)
def test_modules_are_called_as_in_kohyas_files(path, name):
    assert kohya_name(path) == name
    assert diffusers_name(name) == path


@pytest.mark.parametrize(("targets", "count"), [("attention", 560), ("transformer", 722)])
def test_every_module_of_real_sdxl_goes_there_and_back_under_a_name_of_its_own(
    sdxl_unet, targets, count
):
    paths = target_modules(sdxl_unet, targets)
    names = [kohya_name(path) for path in paths]

    assert len(paths) == count
    assert len(set(names)) == count
    assert [diffusers_name(name) for name in names] == paths


def test_the_names_of_the_pocket_are_a_subset_of_real_sdxls(sdxl_unet, pocket_unet):
    pocket = {kohya_name(path) for path in target_modules(pocket_unet, "transformer")}
    real = {kohya_name(path) for path in target_modules(sdxl_unet, "transformer")}

    assert pocket
    assert pocket < real


def test_one_by_one_convolutions_have_the_names_of_the_linear_layers_in_their_place():
    assert target_modules(tiny_unet(linear=False), "transformer") == target_modules(
        tiny_unet(linear=True), "transformer"
    )


@pytest.mark.parametrize(
    "path",
    [
        "conv_in",
        "down_blocks.1.resnets.0.conv1",
        "down_blocks.3.attentions.0.proj_in",
        "down_blocks.1.attentions.2.proj_in",
        "up_blocks.1.attentions.3.proj_in",
        "mid_block.attentions.1.proj_in",
        "mid_block.attentions.0.to_q",
        "mid_block.attentions.0.transformer_blocks.0.proj_in",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A",
        "base_model.mid_block.attentions.0.proj_in",
    ],
)
def test_a_module_outside_sdxls_transformers_has_no_name(path):
    with pytest.raises(ValueError, match=r"^no module of an SDXL transformer is called ") as caught:
        kohya_name(path)

    assert str(caught.value).endswith(path)


@pytest.mark.parametrize(
    "name",
    [
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_unet_input_blocks_0_1_proj_in",
        "lora_unet_input_blocks_3_1_proj_in",
        "lora_unet_output_blocks_9_1_proj_in",
        "lora_unet_middle_block_0_proj_in",
        "lora_unet_middle_block_1_transformer_blocks_0_proj_in",
        "lora_unet_middle_block_1_attn1_to_q",
        "lora_unet_middle_block_1_transformer_blocks_0_attn3_to_q",
        "lora_unet_down_blocks_1_attentions_0_proj_in",
    ],
)
def test_a_name_outside_sdxls_transformers_has_no_module(name):
    with pytest.raises(ValueError, match=r"^no module of an SDXL transformer is called ") as caught:
        diffusers_name(name)

    assert str(caught.value).endswith(name)
