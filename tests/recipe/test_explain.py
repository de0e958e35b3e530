"""What `explain` says."""

from __future__ import annotations

from lora_recipes.recipe.explain import explain
from lora_recipes.recipe.fields import recipe_keys, runtime_keys
from tests.recipe.conftest import message, text

KEYS = [*recipe_keys(), *runtime_keys()]


def test_a_key_is_explained_whole():
    assert explain("lora.rank") == "\n".join(
        [
            "lora.rank",
            "  The inner width of the two matrices beside each weight.",
            "  Higher: can hold more detail; file size, memory and the risk of overfitting grow "
            "linearly.",
            "  Lower: smaller and more general; 4 to 32 are enough for most subjects.",
            "  With: the update is scaled by alpha / rank, so change `lora.alpha` along to keep "
            "its strength.",
            "  Source: Hu et al. 2021, arXiv:2106.09685; default and range: Segmind.",
            "  default: 128",
            "  allowed: a whole number from 1 to 1,024",
            "  advised: 4 to 128",
            "  header: ss_network_dim",
        ]
    )


def test_a_key_is_explained_with_the_rules_about_it():
    assert "rule power-belongs-to-scheduler: " in explain("train.power")
    assert "rule adamw-belongs-to-optimizer: " in explain("train.adamw.beta2")


def test_a_section_is_explained_with_all_its_keys_and_no_other():
    about = explain("lora")
    assert about.startswith("lora: The shape of the adapter")
    assert [line for line in about.splitlines() if line.startswith("lora.")] == [
        "lora.rank",
        "lora.alpha",
        "lora.targets",
    ]


def test_without_a_name_every_key_is_explained():
    lines = explain().splitlines()
    assert [line for line in lines if line in KEYS] == KEYS


def test_a_key_without_its_section_is_found():
    assert message(lambda: explain("rank")) == text(
        """
        rank is not a key
          allowed: a dotted key, such as lora.rank, or a section, such as lora
          fix:     did you mean lora.rank?
        """
    )


def test_a_slip_is_found():
    assert message(lambda: explain("train.lerning_rate")) == text(
        """
        train.lerning_rate is not a key
          allowed: a dotted key, such as lora.rank, or a section, such as lora
          fix:     did you mean train.learning_rate?
        """
    )


def test_nonsense_is_sent_to_the_list():
    assert message(lambda: explain("qqq")) == text(
        """
        qqq is not a key
          allowed: a dotted key, such as lora.rank, or a section, such as lora
          fix:     `python -m lora_recipes explain` lists all keys
        """
    )
