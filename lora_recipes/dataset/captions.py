"""Which words go with which picture, and where they come from.

A picture has one caption of its own at most: a file beside it, or a line of metadata.jsonl. Then
come kohya's `N_name` folders, and last the recipe's template.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lora_recipes.dataset.find import DataFile, Found, by_stem, folder_repeats, named
from lora_recipes.dataset.place import shown
from lora_recipes.dataset.roles import CONTROL, REGULARIZATION
from lora_recipes.errors import Problem, Wording
from lora_recipes.printable import line as brief
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.words import fill
from lora_recipes.text import counted

LONGEST_CAPTION, LONGEST_METADATA = 2**20, 256 * 2**20
"""Bytes of a file that are read; a longer one is refused."""

SAVE_AS_UTF8: Wording = "save it as UTF-8 in your editor"

TOLD = 20
"""Wrong lines of one file that are told one by one."""


@dataclass(frozen=True)
class Caption:
    """The words of one picture."""

    texts: tuple[str, ...]
    """Unicode NFC, single spaces; mostly one."""

    source: str
    """`file`, `metadata`, `folder` or `template`."""


Own = dict[str, tuple[tuple[str, ...], str]]
"""Picture's path → (captions, the file or line that they come from)."""


def captions(
    folder: Path, found: Found, dataset: Dataset
) -> tuple[dict[str, Caption], list[Problem]]:
    """A caption for every picture, by path, and whatever stands against that."""
    given, problems = own_captions(folder, found, dataset)
    without = [entry for entry in found.images if entry.path not in given]
    for entry in without:
        named = folder_repeats(entry.path)
        if named:
            given[entry.path] = Caption((tidy(named[1]),), "folder")
    left = [entry for entry in without if entry.path not in given]
    template, more = _from_template(folder, left, dataset)
    return given | template, problems + more


def own_captions(
    folder: Path, found: Found, dataset: Dataset
) -> tuple[dict[str, Caption], list[Problem]]:
    """The captions that pictures have of their own, by path, and whatever stands against them.

    A file beside the picture, or a line of metadata.jsonl.
    """
    from_files, problems = _from_files(folder, found, dataset.caption.lines)
    from_metadata, more = _from_metadata(folder, found)
    problems += more
    for path in sorted(from_files.keys() & from_metadata.keys()):
        problems.append(
            Problem(
                where=f"{shown(folder)}/{path}",
                what=f"has two captions: {brief(from_files[path][1])} and "
                f"{brief(from_metadata[path][1])}",
                fix="keep one of them",
            )
        )
    given = {path: Caption(texts, "file") for path, (texts, _) in from_files.items()}
    given |= {path: Caption(texts, "metadata") for path, (texts, _) in from_metadata.items()}
    return given, problems


def unused(found: Found) -> list[str]:
    """Caption files that no picture has: a slip of the pen in a name, most likely."""
    stems = {entry.stem for entry in found.images}
    return [entry.path for entry in found.captions if entry.stem not in stems]


def tidy(text: str) -> str:
    """Unicode NFC; line ends, tabs and runs of spaces become single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _from_files(folder: Path, found: Found, lines: bool) -> tuple[Own, list[Problem]]:
    images, texts = by_stem(found.images), by_stem(found.captions)
    own: Own = {}
    problems = []
    for stem in sorted(images.keys() & texts.keys()):
        problem = _ambiguous(folder, images[stem], texts[stem])
        if problem is None:
            caption = texts[stem][0]
            text, problem = _read(folder, caption)
            captions = _lines(text) if lines else (tidy(text),)
            own[images[stem][0].path] = (captions, caption.path)
            if len(captions) > 1 and "" in captions:
                problem = _empty_line(f"{shown(folder)}/{caption.path}", captions.index("") + 1)
        if problem is not None:
            problems.append(problem)
    return own, problems


def _lines(text: str) -> tuple[str, ...]:
    """Each line's caption; line ends behind the last one do not count."""
    return tuple(map(tidy, text.rstrip().split("\n")))


def _empty_line(file: str, number: int) -> Problem:
    return Problem(
        where=f"{file}:{number}",
        what="the line is empty, and with dataset.caption.lines each line is a caption",
        fix="delete the line; train.caption_dropout shows pictures without words",
    )


def _ambiguous(folder: Path, images: list[DataFile], texts: list[DataFile]) -> Problem | None:
    if len(texts) > 1:
        return Problem(
            where=f"{shown(folder)}/{images[0].path}",
            what=f"has two captions: {named((entry.path for entry in texts), ' and ')}",
            fix="keep one of them",
        )
    if len(images) > 1:
        return Problem(
            where=f"{shown(folder)}/{texts[0].path}",
            what=f"could belong to {named((entry.path for entry in images), ' or ')}",
            fix="rename one of the pictures, and give each a caption of its own",
        )
    return None


def _read(folder: Path, entry: DataFile) -> tuple[str, Problem | None]:
    """A whole text file; a byte order mark is no part of it."""
    where = f"{shown(folder)}/{entry.path}"
    most = LONGEST_METADATA if entry.suffix == ".jsonl" else LONGEST_CAPTION
    try:
        with entry.file.open("rb") as file:
            # as much as there is: memory for the most is asked for before the first byte is read
            data = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)
        text = data.decode("utf-8-sig") if len(data) <= most else ""
    except OSError as error:
        what, fix = f"cannot be read: {error.strerror}", "make the file readable"
    except UnicodeDecodeError as error:
        what = f"is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}"
        fix = SAVE_AS_UTF8
    else:
        if len(data) <= most and "\0" not in text:
            return text, None
        what = f"has more than {most:,} bytes and was not read"
        fix = "move it out of the data folder, or cut it"
        if text:
            where += f":{text[: text.index(chr(0))].count(chr(10)) + 1}"
            what, fix = "holds a NUL, as text in UTF-16 does", SAVE_AS_UTF8
    return "", Problem(where=where, what=what, fix=fix)


def _from_metadata(folder: Path, found: Found) -> tuple[Own, list[Problem]]:
    """Captions of every metadata.jsonl; its file names count from its own folder."""
    known = {entry.path for entry in found.images}
    own: Own = {}
    problems = []
    for entry in found.metadata:
        text, problem = _read(folder, entry)
        if problem is not None:
            problems.append(problem)
        wrong: list[Problem] = []
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            place = f"{entry.path}:{number}"
            try:
                name, texts = _metadata_line(line)
                path = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), name))
                if path not in known:
                    raise _BadLineError(
                        f"file_name = {brief(name)}: no such picture",
                        f"name a picture as seen from {PurePosixPath(entry.path).name}'s folder, "
                        "or delete the line",
                    )
                if path in own:
                    raise _BadLineError(
                        f"file_name = {brief(name)}: {brief(own[path][1])} has a caption for it "
                        "too",
                        "keep one of the lines",
                    )
                own[path] = (tuple(map(tidy, texts)), place)
            except _BadLineError as error:
                wrong.append(
                    Problem(where=f"{shown(folder)}/{place}", what=error.what, fix=error.fix)
                )
        problems += _first_of(wrong, f"{shown(folder)}/{entry.path}")
    return own, problems


def _first_of(wrong: list[Problem], where: str) -> list[Problem]:
    """The first problems of a file, and how many more there are."""
    rest = len(wrong) - TOLD
    if rest <= 0:
        return wrong
    more = f"{counted(rest, 'more line is', 'more lines are')} wrong"
    fix = "correct those above first; the others often have the same mistake"
    return [*wrong[:TOLD], Problem(where=where, what=more, fix=fix)]


class _BadLineError(Exception):
    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


def _metadata_line(line: str) -> tuple[str, list[str]]:
    """`file_name` of one line, and its `text`, which may be a list of several."""
    example = '{"file_name": "a.png", "text": "a caption"}'
    try:
        value = json.loads(line, parse_int=float)  # of any length
    except RecursionError as error:
        raise _BadLineError("is nested too deeply", f"write lines like {example}") from error
    except ValueError as error:
        raise _BadLineError(f"is not JSON: {error}", f"write lines like {example}") from error
    if not isinstance(value, dict):
        raise _BadLineError("is not a JSON object", f"write lines like {example}")
    for key in ("file_name", "text"):
        if key not in value:
            raise _BadLineError(f"has no {key}", f"write lines like {example}")
    _check_text("file_name", value["file_name"], example)
    several = value["text"] if isinstance(value["text"], list) else None
    if several == []:
        raise _BadLineError("text is a list without a caption", f"write lines like {example}")
    for number, text in enumerate(several or ()):
        _check_text(f"text[{number}]", text, example)
        if len(several or ()) > 1 and not text.strip():
            raise _BadLineError(f"text[{number}] is empty", "take it out of the list")
    if several is None:
        _check_text("text", value["text"], example)
    return unicodedata.normalize("NFC", value["file_name"]), several or [value["text"]]


def _check_text(key: str, text: object, example: str) -> None:
    if not isinstance(text, str):
        raise _BadLineError(f"{key} is not a text", f"write lines like {example}")
    if half := re.search("[\ud800-\udfff]", text):
        what = f"{key} holds half of a character, \\u{ord(half[0]):x}"
        raise _BadLineError(what, "write the line again")
    if "\0" in text:
        raise _BadLineError(f"{key} holds a NUL, \\u0000", "write the line again")


def _from_template(
    folder: Path, left: list[DataFile], dataset: Dataset
) -> tuple[dict[str, Caption], list[Problem]]:
    """The template's caption for the pictures that have no other.

    A missing class word leaves its place empty. Pictures of other things never get the trigger,
    and those of the class get the template without it.
    """
    problems = []
    control = [entry.path for entry in left if entry.role == CONTROL]
    kept = [entry.path for entry in left if entry.role == REGULARIZATION]
    own = [entry.path for entry in left if entry.role not in (CONTROL, REGULARIZATION)]
    if control:
        problems.append(
            _without(folder, control, "the template speaks of the subject, not of other things")
        )
    if own and dataset.trigger == "none" and "{trigger}" in dataset.template:
        problems.append(
            _without(folder, own, "dataset.trigger is none", "set dataset.trigger, or ")
        )
    if kept and dataset.class_word == "none":
        why = "dataset.class_word is none, so nothing says what these regularization images show"
        problems.append(_without(folder, kept, why, "set dataset.class_word, or "))
    text = tidy(fill(dataset.template, dataset.trigger, dataset.class_word))
    without = tidy(fill(dataset.template, "none", dataset.class_word))
    given = {path: Caption((text,), "template") for path in own}
    return given | {path: Caption((without,), "template") for path in kept}, problems


def _without(folder: Path, paths: list[str], why: str, better: str = "") -> Problem:
    count = f"{len(paths)} pictures have" if len(paths) > 1 else "1 picture has"
    files = brief(str(PurePosixPath(paths[0]).with_suffix(".txt"))) + (
        ", …" if len(paths) > 1 else ""
    )
    return Problem(
        where=shown(folder),
        what=f"{count} no caption, and {why}: {named(paths)}",
        fix=f"{better}write a caption beside each: {files}",
    )
