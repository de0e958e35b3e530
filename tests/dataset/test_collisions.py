"""Two files that DVC takes for one are refused by name, and their swap under a pin is too."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lora_recipes.dataset import collisions as module
from lora_recipes.dataset.collisions import Hashes, collisions
from lora_recipes.dataset.pin import accept
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.reporting import Quiet
from lora_recipes.stages import dataset
from tests.dataset.pictures import photo, project, put

# The first text-only MD5 collision, M. Stevens, 2024.
ONE = b"TEXTCOLLBYfGiJUETHQ4hAcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak"
OTHER = ONE.replace(b"4hA", b"4hE")
MD5 = "faad49866e9498fc1719f5289e7a0269"
TOY = {"trigger": "zwk", "class_word": "toy"}
FIX = (
    "  fix:     such files are made on purpose: ask where they come from; delete all but one, or "
    "save a picture anew in another quality, a caption in other words"
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    project(tmp_path, TOY)
    for number, name in enumerate("ab"):
        put(tmp_path / "data/my", f"{name}.png", photo(seed=number))
    return tmp_path


def test_the_pair_is_a_real_one():
    assert len(ONE) == len(OTHER) == 72
    assert ONE != OTHER
    assert {hashlib.md5(text).hexdigest() for text in (ONE, OTHER)} == {MD5}


def test_two_captions_with_one_md5_stop_the_dataset_stage_and_are_named(root: Path):
    put(root / "data/my", "a.txt", ONE)
    put(root / "data/my", "b.txt", OTHER)
    with pytest.raises(UserError) as caught:
        dataset.run(root, Quiet())
    assert str(caught.value) == (
        f"data/my/a.txt: is another file than b.txt, but has the same MD5, {MD5}; DVC knows files "
        f"by their MD5 and would keep only one of them\n{FIX}"
    )
    assert not (root / "build/manifest.json").exists()


def test_a_file_that_is_no_caption_counts_as_well_for_dvc_keeps_it_too(root: Path):
    put(root / "data/my", "a.txt", ONE)
    put(root / "data/my", "notes/from_a_friend.md", OTHER)
    with pytest.raises(UserError, match=r"a\.txt: is another file than notes/from_a_friend\.md"):
        dataset.run(root, Quiet())


def test_the_same_file_twice_is_no_collision(root: Path):
    put(root / "data/my", "a.txt", ONE)
    put(root / "data/my", "b.txt", ONE)
    dataset.run(root, Quiet())
    assert (root / "build/manifest.json").is_file()


def test_pictures_and_texts_are_held_against_each_other_and_each_group_is_named_once():
    hashes = {
        "a.png": Hashes("sha256:1", "x"),
        "b.png": Hashes("sha256:2", "x"),
        "c.txt": Hashes("sha256:3", "x"),
        "d.png": Hashes("sha256:1", "x"),
        "e.png": Hashes("sha256:5", "y"),
        "f.png": Hashes("sha256:6", "z"),
        "g.txt": Hashes("sha256:7", "z"),
    }
    whats = [problem.what.partition(", but")[0] for problem in collisions(Path("data"), hashes)]
    assert whats == ["is another file than b.png and c.txt", "is another file than g.txt"]


def test_a_picture_is_known_by_the_md5_that_dvc_gives_it(root: Path, monkeypatch):
    seen: dict[str, Hashes] = {}
    monkeypatch.setattr(
        "lora_recipes.dataset.build.collisions", lambda folder, hashes: seen.update(hashes) or []
    )
    dataset.run(root, Quiet())
    data = (root / "data/my/a.png").read_bytes()
    assert seen["a.png"].md5 == hashlib.md5(data).hexdigest()
    assert seen["a.png"].sha256 == "sha256:" + hashlib.sha256(data).hexdigest()


def test_one_swapped_for_the_other_under_a_pin_is_refused_by_sha256(root: Path):
    """DVC sees no change; the pin does."""
    put(root / "data/my", "a.txt", ONE)
    pin = accept(root, Dataset(**TOY)).hash
    project(root, TOY | {"manifest": pin})
    dataset.run(root, Quiet())
    put(root / "data/my", "a.txt", OTHER)
    with pytest.raises(UserError) as caught:
        dataset.run(root, Quiet())
    now = accept(root, Dataset(**TOY)).hash
    assert str(caught.value) == (
        f"data/my: the data are {now}, but dataset.manifest pins {pin}\n"
        f'  caption:  a.png: "{ONE.decode()}" -> "{OTHER.decode()}"\n'
        "  fix:     put the pinned files back from your backup, or accept the data "
        "as they are: `python -m lora_recipes pin`"
    )


@pytest.mark.usefixtures("later")
def test_untouched_texts_are_not_hashed_again_and_still_collide(root: Path, monkeypatch):
    put(root / "data/my", "a.txt", ONE)
    put(root / "data/my", "b.txt", OTHER)
    for _ in range(2):
        with pytest.raises(UserError, match="has the same MD5"):
            dataset.run(root, Quiet())
        monkeypatch.setattr(module, "_read", lambda file: pytest.fail("read again"))
