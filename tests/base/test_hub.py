from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from lora_recipes.base.locate import identity, locate
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base
from tests.models import tiny_sdxl

REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER_REVISION = REVISION[::-1]
BASE = Base(model="someone/sdxl", revision=REVISION)
FILES = """
    model_index.json
    unet/config.json
    unet/diffusion_pytorch_model.safetensors
    vae/config.json
    vae/diffusion_pytorch_model.safetensors
    text_encoder/config.json
    text_encoder/model.safetensors
    text_encoder_2/config.json
    text_encoder_2/model.safetensors
    tokenizer/vocab.json
    tokenizer/merges.txt
    tokenizer_2/vocab.json
    tokenizer_2/merges.txt
    scheduler/scheduler_config.json
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def snapshot(store: Path, revision: str = REVISION) -> Path:
    return store / "models--someone--sdxl/snapshots" / revision


def test_a_model_in_the_hubs_cache_is_found_at_its_revision(store: Path, tmp_path: Path) -> None:
    tiny_sdxl(snapshot(store))
    located = locate(BASE, tmp_path)
    assert (located.kind, located.name) == ("hub", f"someone/sdxl@{REVISION}")
    assert located.components["vae"].config == snapshot(store) / "vae"


def test_offline_it_says_which_files_to_get_and_where_to_put_them(
    store: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        locate(BASE, tmp_path)
    assert str(error.value) == (
        "base.model = someone/sdxl: not on this machine (HF_HUB_OFFLINE is set); "
        f"missing at revision {REVISION}:{FILES.rstrip()}\n"
        "  fix:     where there is a network, run\n"
        f"    hf download someone/sdxl --revision {REVISION} {' '.join(FILES.split())}\n"
        "  and copy the cache (HF_HOME) here; or put the files, with these sub-folders, into a\n"
        "  folder of your choice and set base.model to its path"
    )


def test_only_what_is_missing_is_asked_for(store: Path, tmp_path: Path) -> None:
    tiny_sdxl(snapshot(store))
    (snapshot(store) / "vae/config.json").unlink()
    with pytest.raises(UserError) as error:
        locate(BASE, tmp_path)
    assert f"missing at revision {REVISION}:\n    vae/config.json\n" in str(error.value)
    assert f"--revision {REVISION} vae/config.json\n" in str(error.value)


def test_missing_files_are_fetched_at_the_pinned_revision_and_no_pickles(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    asked = {}

    def download(repository: str, *, revision: str, allow_patterns: list[str]) -> None:
        asked.update(repository=repository, revision=revision, patterns=allow_patterns)
        tiny_sdxl(snapshot(store))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate(BASE, tmp_path).kind == "hub"
    assert asked["repository"] == "someone/sdxl"
    assert asked["revision"] == REVISION
    assert "unet/diffusion_pytorch_model.safetensors" in asked["patterns"]
    assert not [name for name in asked["patterns"] if name.endswith((".bin", ".ckpt", "*"))]


def test_a_failed_download_is_told_with_its_reason(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def download(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError) as error:
        locate(BASE, tmp_path)
    assert str(error.value).startswith(
        "base.model = someone/sdxl: not on this machine (ConnectionError: no route to host); "
        f"missing at revision {REVISION}:\n    model_index.json\n"
    )


def test_nothing_is_fetched_where_that_is_not_wanted(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(UserError, match="nothing was fetched"):
        locate(BASE, tmp_path, download=False)


@pytest.mark.parametrize(
    ("base", "line"),
    [
        (Base(model="a/b", revision="none"), "base.model = a/b"),
        (Base(model="model", vae="a/b"), "base.vae = a/b"),
        (Base(model="model", tokenizer="a/b"), "base.tokenizer = a/b"),
    ],
)
def test_an_id_without_a_commit_is_refused(base: Base, line: str, model: Path) -> None:
    key = line.split(" = ", maxsplit=1)[0]
    setting = "base.revision" if key == "base.model" else f"{key}_revision"
    with pytest.raises(UserError) as error:
        locate(base, model.parent)
    assert str(error.value) == (
        f"{line}: no commit is named, so its content could change\n"
        f"  fix:     set {setting} to the 40 hex digits of a commit of that repository"
    )


def test_the_revision_is_part_of_the_identity(store: Path, tmp_path: Path) -> None:
    found = set()
    for revision in (REVISION, OTHER_REVISION):
        tiny_sdxl(snapshot(store, revision))
        located = locate(Base(model="someone/sdxl", revision=revision), tmp_path)
        found.add(identity(located, tmp_path / "hashes.json"))
    assert len(found) == 2


def test_a_vae_of_the_hub_replaces_the_models_own(store: Path, model: Path) -> None:
    place = store / "models--someone--vae/snapshots" / REVISION
    place.mkdir(parents=True)
    for path in (model / "vae").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    base = Base(model="model", vae="someone/vae", vae_revision=REVISION)
    assert locate(base, model.parent).components["vae"].config == place
