"""Which files of a folder are pictures, captions or neither."""

from __future__ import annotations

import errno
import os
import socket
import unicodedata
from contextlib import nullcontext
from pathlib import Path

import pytest

from lora_recipes.dataset import walk as module
from lora_recipes.dataset.find import find, folder_repeats
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.dataset import Dataset
from tests.dataset.pictures import put

FIX_EMPTY = "put your pictures there, or name their folder as `data:` in params.yaml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def images(folder: Path, **dataset: str) -> list[tuple[str, str]]:
    return [(entry.path, entry.role) for entry in find(folder, Dataset(**dataset)).images]


def error(folder: Path, **dataset: str) -> str:
    with pytest.raises(UserError) as caught:
        find(folder, Dataset(**dataset))
    return str(caught.value)


def test_pictures_of_all_levels_are_found_in_the_order_of_their_paths(folder):
    for name in ("b.png", "a/z.JPG", "a.webp", "B.tiff", "a/b/c.avif", "x.bmp"):
        put(folder, name)
    assert [path for path, _ in images(folder)] == [
        "B.tiff", "a.webp", "a/b/c.avif", "a/z.JPG", "b.png", "x.bmp",
    ]  # fmt: skip


def test_the_order_of_the_disk_does_not_matter(folder, monkeypatch):
    for name in ("b.png", "a/z.png", "a.png", "c/1.png"):
        put(folder, name)
    straight = images(folder)
    scandir, asked = os.scandir, []

    def backwards(top):
        asked.append(top)
        with scandir(top) as items:
            return nullcontext(sorted(items, key=lambda item: item.name, reverse=True))

    monkeypatch.setattr(module.os, "scandir", backwards)
    assert images(folder) == straight
    assert len(asked) == 3


def test_hidden_files_and_folders_are_left_out(folder):
    for name in ("a.png", ".b.png", ".git/c.png", "._a.png"):
        put(folder, name)
    assert images(folder) == [("a.png", "train")]


def test_files_are_sorted_into_pictures_captions_metadata_and_others(folder):
    for name in ("a.png", "a.txt", "b.CAPTION", "metadata.jsonl", "notes.md", "metadata.csv"):
        put(folder, name)
    found = find(folder, Dataset())
    kinds = [found.images, found.captions, found.metadata, found.others]
    assert [[entry.path for entry in kind] for kind in kinds] == [
        ["a.png"], ["a.txt", "b.CAPTION"], ["metadata.jsonl"], ["metadata.csv", "notes.md"],
    ]  # fmt: skip


def test_named_sub_folders_get_their_roles_at_the_top_level_only(folder):
    for name in ("a.png", "held/b.png", "held/deep/c.png", "other/d.png", "x/held/e.png"):
        put(folder, name)
    assert images(folder, heldout="held", control="other") == [
        ("a.png", "train"),
        ("held/b.png", "heldout"),
        ("held/deep/c.png", "heldout"),
        ("other/d.png", "control"),
        ("x/held/e.png", "train"),
    ]


def test_a_name_is_the_same_however_its_accents_are_spelled(folder):
    put(folder, unicodedata.normalize("NFD", "é.png"))
    assert images(folder) == [(unicodedata.normalize("NFC", "é.png"), "train")]


def test_two_spellings_of_one_name_are_an_error(folder):
    put(folder, unicodedata.normalize("NFD", "é.png"))
    put(folder, unicodedata.normalize("NFC", "é.png"))
    assert error(folder) == (
        "data/é.png: two files have this name, spelled with different Unicode accents\n"
        "  fix:     rename one of them"
    )


def test_a_name_that_is_not_utf8_is_an_error(folder):
    put(folder, "a.png")
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    assert error(folder) == (
        "data/caf\\udce9.png: its name is not UTF-8\n  fix:     rename the file"
    )


def test_linked_files_are_files(folder, tmp_path):
    put(tmp_path, "cache/b.png")
    put(folder, "a.png")
    (folder / "b.png").symlink_to(tmp_path / "cache" / "b.png")
    assert [path for path, _ in images(folder)] == ["a.png", "b.png"]


@pytest.mark.parametrize("place", ["cache/files/md5/", "old-cache/"])
def test_links_into_a_cache_of_dvc_are_followed_wherever_it_lies(folder, tmp_path_factory, place):
    cached = put(tmp_path_factory.mktemp("far"), f"{place}ab/{'0123456789' * 3}")
    folder.mkdir()
    (folder / "a.png").symlink_to(cached)
    assert images(folder) == [("a.png", "train")]


def test_links_out_of_the_data_folder_are_refused(folder, tmp_path, tmp_path_factory):
    secret = put(tmp_path_factory.mktemp("far"), "passwd", "root")
    own = put(tmp_path, ".dvc/config.local", "password = 1")
    put(folder, "a.png")
    (folder / "a.txt").symlink_to(secret)
    (folder / "b.txt").symlink_to(own)
    fix = "  fix:     put the file itself there, if you know what it is; else delete the link"
    assert error(folder) == (
        f"data/a.txt: is a link to {secret}, out of the data folder and not into DVC's cache\n"
        f"{fix}\n"
        f"data/b.txt: is a link to {own}, out of the data folder and not into DVC's cache\n{fix}"
    )


def test_links_in_a_ring_are_errors(folder):
    put(folder, "a.png")
    (folder / "b.png").symlink_to("b.png")
    (folder / "c.txt").symlink_to("d.txt")
    (folder / "d.txt").symlink_to("c.txt")
    assert error(folder).count(": is a link that leads back to itself\n") == 3


@pytest.mark.parametrize("name", ["x.bin", "x.png", "a.txt", "metadata.jsonl", "x.gif"])
def test_a_named_pipe_is_never_opened(folder, name):
    put(folder, "a.png")
    os.mkfifo(folder / name)
    assert error(folder) == (
        f"data/{name}: is a named pipe, not a file\n  fix:     move it out of the data folder"
    )


def test_sockets_and_links_to_devices_are_never_opened(folder, monkeypatch):
    put(folder, "a.png")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s.txt")
    monkeypatch.chdir(folder.parent)
    (folder / "z.png").symlink_to("/dev/zero")
    assert error(folder) == (
        "data/s.txt: is a socket, not a file\n  fix:     move it out of the data folder\n"
        "data/z.png: is a link to a device, not to a file\n"
        "  fix:     move it out of the data folder"
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_sub_folder_that_cannot_be_read_is_an_error(folder, monkeypatch, number):
    for name in ("a.png", "sub/b.png"):
        put(folder, name)
    scandir = os.scandir

    def closed(top):
        if Path(top).name == "sub":
            raise OSError(number, os.strerror(number))
        return scandir(top)

    monkeypatch.setattr(module.os, "scandir", closed)
    assert error(folder) == (
        f"data/sub: cannot be read: {os.strerror(number)}; what is in it would be left out\n"
        "  fix:     make it readable (mount a network folder again), or move it out of the data "
        "folder"
    )


def test_a_path_that_would_not_fit_below_build_is_an_error(folder):
    put(folder, "a.png")
    path = "/".join(["d" * 250] * 9 + ["a.png"])
    put(folder, path)
    assert error(folder) == (
        f"data/{path}: its path in the data folder has 2,264 bytes\n"
        "  allowed: at most 2,048\n"
        "  fix:     shorten the names of its folders"
    )


def test_very_many_folders_inside_one_another_are_an_error(folder):
    put(folder, "a.png")
    place = os.open(folder, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    assert error(folder) == (
        "data/d: holds more than 64 folders inside one another\n"
        "  fix:     move the pictures further up"
    )


@pytest.mark.parametrize("name", ["@eaDir", "sub/@eaDir/b.png", "__MACOSX", "#recycle"])
def test_what_a_nas_makes_for_itself_is_left_out(folder, name):
    put(folder, "a.png")
    put(folder, f"{name}/SYNOPHOTO_THUMB_M.jpg")
    assert images(folder) == [("a.png", "train")]


def test_linked_folders_and_dangling_links_are_errors(folder, tmp_path):
    put(tmp_path, "elsewhere/b.png")
    put(folder, "a.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere")
    fix = "  fix:     put the files themselves there (`dvc checkout` does, from DVC's cache)"
    assert error(folder) == (
        f"data/gone.png: is a link that points to nothing\n{fix}\n"
        f"data/linked: is a link to a folder\n{fix}"
    )


def test_a_missing_folder_is_an_error(folder):
    assert error(folder) == f"data: there is no such folder\n  fix:     {FIX_EMPTY}"


def test_a_file_is_no_folder(folder):
    folder.write_text("")
    assert error(folder) == f"data: is a file, not a folder\n  fix:     {FIX_EMPTY}"


def test_an_empty_folder_is_an_error(folder):
    put(folder, "notes.md", "nothing yet")
    assert error(folder) == (
        "data: there are no pictures to train on\n"
        "  allowed: JPEG, PNG, WebP, TIFF, BMP and AVIF files, also in sub-folders\n"
        f"  fix:     {FIX_EMPTY}"
    )


def test_missing_and_empty_roles_are_errors(folder):
    put(folder, "a.png")
    (folder / "held").mkdir()
    assert error(folder, heldout="held", control="other") == (
        "data/held: dataset.heldout = held: holds no pictures\n"
        "  fix:     put pictures there, or set dataset.heldout to none\n"
        "data/other: dataset.control = other: there is no such folder\n"
        "  fix:     put pictures there, or set dataset.control to none"
    )
    assert error(folder, regularization="held") == (
        "data/held: dataset.regularization = held: holds no pictures\n"
        "  fix:     put pictures there, or set dataset.regularization to none"
    )


def test_nothing_but_held_out_pictures_is_an_error(folder):
    put(folder, "held/a.png")
    assert error(folder, heldout="held").startswith(
        "data: there are no pictures to train on beside the held-out ones\n"
    )


def test_one_folder_cannot_have_two_roles(folder):
    put(folder, "same/a.png")
    assert error(folder, heldout="same", control="same") == (
        "dataset.heldout and dataset.control are both same\n"
        "  fix:     give each its own sub-folder, or set one to none"
    )
    assert error(folder, control="same", regularization="same").startswith(
        "dataset.control and dataset.regularization are both same\n"
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "heldout",
            {},
            "data/heldout: 1 picture would be trained on\n"
            "  fix:     set dataset.heldout: heldout, or rename the folder",
        ),
        (
            "Held-Out",
            {"heldout": "test"},
            "data/Held-Out: 1 picture would be trained on\n"
            "  fix:     move its pictures into data/test, which is dataset.heldout, or rename the "
            "folder",
        ),
        (
            "others",
            {},
            "data/others: 1 picture would be trained on\n"
            "  fix:     set dataset.control: others, or rename the folder",
        ),
        (
            "day 1/control",
            {},
            "data/day 1/control: 1 picture would be trained on\n"
            "  fix:     move the folder to data/control and set dataset.control: control, or "
            "rename the folder",
        ),
        (
            "reg/1_dog",
            {},
            "data/reg: 1 picture would be trained on as the subject, but its name means "
            "regularization images\n"
            "  fix:     set dataset.regularization: reg, or rename the folder",
        ),
        (
            "regularization",
            {"regularization": "test"},
            "data/regularization: 1 picture would be trained on as the subject, but its name means "
            "regularization images\n"
            "  fix:     move its pictures into data/test, which is dataset.regularization, or "
            "rename the folder",
        ),
    ],
)
def test_folders_that_are_meant_for_something_else_are_not_trained_on(
    folder, name, settings, message
):
    for path in ("a.png", "test/b.png", f"{name}/c.png"):
        put(folder, path)
    assert error(folder, **settings) == message


def test_declared_folders_and_files_of_such_names_are_fine(folder):
    for path in ("a.png", "heldout/b.png", "reg/c.png", "others.png", "regional/d.png"):
        put(folder, path)
    assert [role for _, role in images(folder, heldout="heldout", control="reg")] == [
        "train", "heldout", "train", "control", "train",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.png", None),
        ("10_zwk toy/a.png", (10, "zwk toy")),
        ("10_zwk_toy/deep/a.png", (10, "zwk_toy")),
        ("5_outer/10_inner/a.png", (10, "inner")),
        ("10zwk/a.png", None),
        ("10_/a.png", None),
        ("x/10_zwk.png", None),
    ],
)
def test_repeats_and_caption_come_from_the_nearest_numbered_folder(path, expected):
    assert folder_repeats(path) == expected
