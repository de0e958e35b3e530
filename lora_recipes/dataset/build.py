"""From a data folder to its manifest, telling everything that is unusual on the way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lora_recipes.dataset.cache import StatCache
from lora_recipes.dataset.captions import Caption, captions, tidy, unused
from lora_recipes.dataset.collisions import Hashes, collisions, hashes_of
from lora_recipes.dataset.decode import sniff
from lora_recipes.dataset.doubtful_tags import tell_doubtful_tags
from lora_recipes.dataset.duplicates import Pair, alike
from lora_recipes.dataset.examine import FileFacts, examine, headers, version
from lora_recipes.dataset.find import OTHER_METADATA, DataFile, Found, find, folder_repeats, named
from lora_recipes.dataset.manifest import Image, Manifest, make
from lora_recipes.dataset.masks import Mask, masks, paired, shape_problems, tell_masks
from lora_recipes.dataset.place import shown
from lora_recipes.dataset.roles import (
    CONTROL,
    HELDOUT,
    NEVER_TRAINED,
    REGULARIZATION,
    TRAIN,
    TRAINED,
)
from lora_recipes.dataset.size import shape
from lora_recipes.dataset.variants import texts as texts_of
from lora_recipes.errors import Problem, UserError, Wording
from lora_recipes.printable import line as brief
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.size import Size
from lora_recipes.reporting import Reporter
from lora_recipes.text import counted

MANY_REPEATS = 500
"""Above it, a folder's number is more likely a year or a date than meant as repeats."""

ROLES: dict[str, Wording] = {
    TRAIN: "to train on",
    REGULARIZATION: "for regularization",
    HELDOUT: "held out",
    CONTROL: "of other things",
}
SOURCES: dict[str, Wording] = {
    "file": "from files beside the pictures",
    "metadata": "from metadata.jsonl",
    "folder": "from folder names",
    "template": "from dataset.template",
}


def build(
    folder: Path,
    dataset: Dataset,
    cache_file: Path,
    report: Reporter,
    readable: Callable[[dict[str, Size]], None] = lambda sizes: None,
) -> Manifest:
    """Read a data folder: every picture, every caption.

    Args:
        folder: the data folder.
        dataset: the recipe's section: trigger, template, roles. Its pin is not looked at.
        cache_file: where facts about untouched files are kept, under `.lora/`.
        readable: is told the size of each picture that can be read, before others are refused.

    Raises:
        UserError: all problems at once: damaged files, captions that are missing, doubled or not
            UTF-8, metadata lines that fit no picture, two files that DVC would take for one.
    """
    found = find(folder, dataset)
    cache = StatCache(cache_file, version())
    facts, problems = examine(folder, [*found.images, *found.masks], cache, report)
    pictures = {entry.path: facts[entry.path] for entry in found.images if entry.path in facts}
    readable({path: (fact.width, fact.height) for path, fact in pictures.items()})
    hashes = {path: Hashes(fact.sha256, fact.md5) for path, fact in facts.items()}
    hashes |= hashes_of([*found.captions, *found.metadata, *found.others], cache)
    cache.save()
    texts, more = captions(folder, found, dataset)
    problems += more + _repeat_problems(folder, found) + collisions(folder, hashes)
    own_masks, more = masks(folder, found, facts, dataset)
    problems += more
    if problems:
        raise UserError(sorted(problems, key=lambda problem: str(problem.where)))
    images = [
        _looked_at(_image(entry, texts[entry.path], dataset, facts[entry.path]), own_masks, dataset)
        for entry in found.images
    ]
    _tell(found, images, pictures, dataset, report)
    return make(images)


def glance(
    folder: Path, dataset: Dataset, report: Reporter
) -> tuple[dict[str, Size], list[Problem], int | None]:
    """What names, captions and headers tell of a data folder, in milliseconds a picture.

    What takes reading every file is left out: damage behind the header, pictures that are there
    twice, files that DVC would take for one.

    Returns:
        The size of each picture by path, what `build` would refuse, and the number of texts to
        encode, where the captions are all right.

    Raises:
        UserError: as `find`.
    """
    found = find(folder, dataset)
    every, problems = headers(folder, [*found.images, *found.masks])
    sizes = {entry.path: every[entry.path] for entry in found.images if entry.path in every}
    pairs, of_masks = paired(folder, found)
    texts, more = captions(folder, found, dataset)
    problems += of_masks + shape_problems(folder, pairs, every)
    problems += more + _repeat_problems(folder, found)
    number = None
    if not more:
        images = [_image(entry, texts[entry.path], dataset) for entry in found.images]
        _tell_folders(found, report)
        _tell_texts(found, images, dataset, report)
        number = count_texts(images)
    return sizes, sorted(problems, key=lambda problem: str(problem.where)), number


def _image(
    entry: DataFile, caption: Caption, dataset: Dataset, facts: FileFacts | None = None
) -> Image:
    first, *more = caption.texts
    made = texts_of(caption.texts, dataset, entry.role)
    return Image(
        path=entry.path,
        role=entry.role,
        sha256=facts.sha256 if facts else "",
        width=facts.width if facts else 0,
        height=facts.height if facts else 0,
        format=facts.format if facts else "",
        caption=first,
        caption_from=caption.source,
        repeats=repeats_of(entry),
        captions=caption.texts if more else (),
        variants=made if made != (first,) else (),
    )


def _looked_at(image: Image, masks: Mapping[str, Mask], dataset: Dataset) -> Image:
    """A picture with what says how training looks at it: its mask, and whether mirrored too."""
    flip = dataset.flip and image.role == TRAIN
    mask = masks.get(image.path)
    if mask is None:
        return replace(image, flip=flip)
    return replace(
        image, flip=flip, mask=mask.source, mask_sha256=mask.sha256, mask_share=mask.share
    )


def repeats_of(entry: DataFile) -> int:
    """How often a `N_name` folder repeats a picture. Only what is trained on is repeated."""
    named = folder_repeats(entry.path)
    return named[0] if named and entry.role in TRAINED else 1


def count_texts(images: Iterable[Image]) -> int:
    """How many texts there are to encode: each once, and the empty one."""
    return len({"", *(text for image in images for text in image.texts)})


def _repeat_problems(folder: Path, found: Found) -> list[Problem]:
    zero = [entry.path for entry in found.images if repeats_of(entry) == 0]
    if not zero:
        return []
    return [
        Problem(
            where=shown(folder),
            what=f"their folder's name asks for 0 repeats: {named(zero)}",
            allowed="a number from 1 in names such as `10_zwk toy`",
            fix="rename the folder, or move it out of the data folder",
        )
    ]


def _tell(
    found: Found,
    images: list[Image],
    facts: dict[str, FileFacts],
    dataset: Dataset,
    report: Reporter,
) -> None:
    _tell_counts(images, report)
    _tell_folders(found, report)
    tell_masks(found, images, dataset, report)
    notes = defaultdict(list)
    for path in sorted(facts):
        for note in facts[path].notes:
            notes[note].append(path)
    for note, paths in sorted(notes.items()):
        report.say(f"{counted(len(paths), 'picture')} {brief(note)}: {named(paths)}")
    _tell_texts(found, images, dataset, report)
    roles = {image.path: image.role for image in images}
    for text in _duplicates(alike(facts), roles):
        report.warn(text)


def _tell_texts(found: Found, images: list[Image], dataset: Dataset, report: Reporter) -> None:
    _tell_words(images, dataset, report)
    tell_doubtful_tags(images, dataset.caption, report)
    empty = [image.path for image in images if not image.caption]
    if empty:
        report.warn(f"{counted(len(empty), 'caption')} without a word: {named(empty)}")
    if unused(found):
        report.warn(f"texts that belong to no picture, not used: {named(unused(found))}")
    _tell_left_out(found, report)


def _tell_counts(images: list[Image], report: Reporter) -> None:
    roles, sources = Counter(i.role for i in images), Counter(i.caption_from for i in images)
    counts = ", ".join(f"{roles[role]} {word}" for role, word in ROLES.items() if roles[role])
    report.say(f"pictures: {counts}")
    shapes = Counter(shape((image.width, image.height)) for image in images)
    smallest = min(images, key=lambda image: (image.width * image.height, image.path))
    report.say(
        "shapes: "
        + named([f"{name} ({count})" for name, count in shapes.most_common()])
        + f"; the smallest is {brief(smallest.path)}, {smallest.width}×{smallest.height}"
    )
    told = ", ".join(f"{sources[key]} {word}" for key, word in SOURCES.items() if sources[key])
    if any(image.variants for image in images):
        texts = len({text for image in images for text in image.texts})
        told += f"; dataset.caption makes {counted(texts, 'text')} of them"
    report.say(f"captions: {told}")


def _tell_words(images: list[Image], dataset: Dataset, report: Reporter) -> None:
    """Words that the recipe counts on and no caption has."""
    train = [image for image in images if image.role == TRAIN]
    trigger, class_word = dataset.trigger, dataset.class_word
    words = "\n".join(text for image in train for text in image.texts)
    if trigger != "none" and tidy(trigger).lower() not in words.lower():  # as CLIP reads them
        report.warn(
            f"dataset.trigger = {brief(trigger)} stands in no caption: the model will not learn "
            "that word; write it into the captions, or set dataset.trigger to the word that they "
            "have"
        )
    torn = [
        image.path
        for image in images
        if image.role == REGULARIZATION
        and trigger != "none"
        and any(tidy(trigger).lower() in text.lower() for text in image.texts)
    ]
    if torn:
        report.warn(
            f"dataset.trigger = {brief(trigger)} stands in captions of regularization pictures, "
            f"which are not of your subject: {named(torn)}; take it out of them"
        )
    template = [image for image in train if image.caption_from == "template"]
    if template and class_word == "none" and "{class_word}" in dataset.template:
        report.warn(
            "dataset.class_word is none, so the template reads "
            f'"{brief(template[0].caption)}"; say what kind of thing it is, such as dog or person'
        )


def _tell_folders(found: Found, report: Reporter) -> None:
    """Repeats by folder, so that nobody is surprised by a folder named after a year."""
    repeats: Counter[int] = Counter()
    for entry in found.images:
        if entry.role in TRAINED and folder_repeats(entry.path):
            repeats[repeats_of(entry)] += 1
    for number, count in sorted(repeats.items()):
        text = f"{counted(count, 'picture')} repeated {number} times, as the folder's name says"
        if number > MANY_REPEATS:
            report.warn(f"{text}; rename the folder if {number} is not a number of repeats")
        else:
            report.say(text)


def _tell_left_out(found: Found, report: Reporter) -> None:
    tables = [entry.path for entry in found.others if Path(entry.path).name in OTHER_METADATA]
    if tables:
        report.warn(f"not read: {named(tables)}; captions are read from metadata.jsonl")
    hidden = [entry.path for entry in found.others if _is_picture(entry)]
    if hidden:
        report.warn(f"pictures without a picture's suffix, not used: {named(hidden)}")


def _is_picture(entry: DataFile) -> bool:
    try:
        with entry.file.open("rb") as file:
            return sniff(file.read(32)) is not None
    except OSError:
        return False


def _duplicates(pairs: list[Pair], roles: dict[str, str]) -> list[Wording]:
    """The warnings about pictures that are there twice, the grave ones first."""
    leak, torn, same, near = list[str](), list[str](), list[str](), list[str]()
    for pair in pairs:
        shown = f"{pair.first} = {pair.second}" if pair.exact else f"{pair.first} ≈ {pair.second}"
        pair_roles = {roles[pair.first], roles[pair.second]}
        if pair_roles & {*TRAINED} and pair_roles & {*NEVER_TRAINED}:
            leak.append(shown)
        elif len(pair_roles & {*TRAINED}) > 1:
            torn.append(shown)
        else:
            (same if pair.exact else near).append(shown)
    return [
        f"{kind}: {named(shown)}"
        for kind, shown in (
            ("TRAINED ON AND HELD OUT, so the held-out figures flatter", leak),
            ("the subject's and for regularization, which pull against each other", torn),
            ("the same picture twice", same),
            ("nearly the same picture twice", near),
        )
        if shown
    ]
