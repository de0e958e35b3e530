"""The demo really learns, and what it learns is what the captions say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocket_training.evaluate import EVALUATION_PROMPTS, Figures, figures, verdict

from .project import REPOSITORY, Project, make_project


def test_the_demo_recipe_draws_every_evaluation_prompt_and_trains_on_none():
    from lora_recipes.recipe.load import load_recipe
    from lora_recipes.recipe.words import fill

    recipe = load_recipe(REPOSITORY, "pocket-demo").recipe
    words = (recipe.dataset.trigger, recipe.dataset.class_word)
    drawn = {fill(prompt, *words) for prompt in recipe.sample.prompts}
    asked = {prompt for prompt, _ in EVALUATION_PROMPTS}
    captions = {
        file.read_text("utf-8").strip() for file in (REPOSITORY / "data/demo").glob("*.txt")
    }
    assert len(asked) >= 16
    assert len(captions) == 8
    assert asked <= drawn
    assert not asked & captions


def trained(project: Project) -> tuple[Figures, Figures]:
    project.run("dvc", "repro", "sample")
    samples = project.root / "out/samples"
    return figures(samples, "none"), figures(samples, "final")


@pytest.mark.slow
def test_with_captions_shuffled_across_the_images_the_figures_fall(tmp_path: Path):
    """Same pictures, same words, wrong pairs: the prompt's background is no longer obeyed."""
    right = make_project(tmp_path / "right", {})
    base, learned = trained(right)
    assert verdict(base, learned) == []

    wrong = make_project(tmp_path / "wrong", {})
    files = sorted((wrong.root / "data/demo").glob("*.txt"))
    texts = [file.read_text("utf-8") for file in files]
    for file, text in zip(files, texts[1:] + texts[:1], strict=True):
        file.write_text(text, "utf-8")
    wrong.run("python", "-m", "lora_recipes", "pin")
    base, shuffled = trained(wrong)
    assert shuffled.background <= learned.background - 0.15
    assert verdict(base, shuffled) != []
