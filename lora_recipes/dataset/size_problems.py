"""Which pictures cannot become training pictures by their size, and which ones lose much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lora_recipes.dataset.buckets import bucket_sizes, target_of
from lora_recipes.dataset.decode import MAX_PIXELS
from lora_recipes.dataset.geometry import Cut, cut_off
from lora_recipes.dataset.size import shape
from lora_recipes.errors import MOST_PRINTED, Problem, Wording
from lora_recipes.recipe.bucket_limits import SMALLEST, bucket_limits
from lora_recipes.recipe.cover import cover, fits, is_smaller
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.size import Size, size_of
from lora_recipes.reporting import Reporter
from lora_recipes.text import first_few

Sizes = Mapping[str, Size]
"""Of pictures, by path."""


def size_problems(sizes: Sizes, settings: Prepare, report: Reporter) -> list[Problem]:
    """What keeps pictures of these sizes from becoming training pictures.

    What can be done, but is worth a thought, is warned of.
    """
    if settings.buckets:
        targets = {path: target_of(size, settings) for path, size in sizes.items()}
        problems = _bucket_problems(sizes, targets, settings, report)
        wanted: Wording = "their bucket"
    else:
        targets = dict.fromkeys(sizes, size_of(settings.resolution))
        problems = _one_size_problems(sizes, settings, report)
        wanted = _told(size_of(settings.resolution))
    narrow = [path for path, size in sizes.items() if _is_too_large(size, targets[path])]
    if narrow:
        problems.append(
            Problem(
                what=f"pictures so narrow that scaled to {wanted} they have more than "
                f"{MAX_PIXELS:,} pixels: {_named(narrow, sizes)}",
                fix="crop them yourself",
            )
        )
    return problems


def told_cut(cut: Cut) -> Wording:
    """`4 % left and right`, `50 % above and below`, `nothing`."""
    if not (cut.columns or cut.rows):
        return "nothing"
    return f"{percent(cut)} {'left and right' if cut.columns else 'above and below'}"


def percent(cut: Cut) -> Wording:
    """What is cropped of a picture: `4 %`, `0.1 %`."""
    number = 100 * cut.share
    return f"{number:.0f} %" if number >= 1 else f"{number:.1g} %"


def told_buckets(pictures: Mapping[Size, int]) -> Wording:
    """`832×1216 (7), 1024×1024 (2)`: how many pictures each bucket has, the fullest first."""
    ranked = fullest_first(pictures)
    return first_few([f"{_told(size)} ({count})" for size, count in ranked], MOST_PRINTED)


def fullest_first(pictures: Mapping[Size, int]) -> list[tuple[Size, int]]:
    """Buckets and how many pictures each has; of equals the narrowest first."""
    return sorted(pictures.items(), key=lambda item: (-item[1], item[0]))


def _one_size_problems(sizes: Sizes, settings: Prepare, report: Reporter) -> list[Problem]:
    """Of pictures that all get `prepare.resolution`."""
    target = size_of(settings.resolution)
    small = [path for path, size in sizes.items() if is_smaller(size, target)]
    wanted = _told(target)
    problems = []
    if small and not settings.upscale:
        problems.append(
            Problem(
                what=f"pictures smaller than prepare.resolution, {wanted}: {_named(small, sizes)}",
                fix="take larger originals, lower prepare.resolution, or set prepare.upscale: true",
            )
        )
    elif small:
        report.warn(f"enlarged to {wanted}, which teaches their blur: {_named(small, sizes)}")
    odd = [path for path, size in sizes.items() if not fits(size, target)]
    if odd and settings.crop == "none":
        problems.append(
            Problem(
                what=f"pictures that are not {shape(target)}, the shape of prepare.resolution "
                f"({wanted}): {_named(odd, sizes)}",
                fix="set prepare.buckets: true, which keeps their shapes, or prepare.crop: center "
                "(or random), or crop them yourself",
            )
        )
    return problems


def _bucket_problems(
    sizes: Sizes, targets: Sizes, settings: Prepare, report: Reporter
) -> list[Problem]:
    """Of pictures that each get a bucket: too small for any, or far from all of them in shape."""
    small = [path for path, size in sizes.items() if is_smaller(size, targets[path])]
    tiny = [] if settings.upscale else small
    problems = []
    if tiny:
        problems.append(
            Problem(
                what=f"pictures too small for a bucket: {_named(tiny, sizes)}",
                allowed=f"at least {SMALLEST} pixels on each side, in whole prepare.bucket_steps "
                f"of {settings.bucket_step}",
                fix="take larger originals, leave them out, or set prepare.upscale: true",
            )
        )
    sound = {path: size for path, size in sizes.items() if path not in {*tiny}}
    if problem := _odd(sound, targets, settings, report):
        problems.append(problem)
    _tell_small(sound, targets, settings, report)
    return problems


def _odd(sizes: Sizes, targets: Sizes, settings: Prepare, report: Reporter) -> Problem | None:
    """Pictures that lose more than a step: refused where nothing is to be cropped, else named."""
    cuts = {path: cut_off(size, targets[path]) for path, size in sizes.items()}
    odd = {path: cut for path, cut in cuts.items() if cut.exceeds(settings.bucket_step)}
    if not odd:
        return None
    listed = first_few(
        [
            f"{path} ({_told(sizes[path])} in {_told(targets[path])} loses {told_cut(cut)})"
            for path, cut in odd.items()
        ],
        MOST_PRINTED,
    )
    if settings.crop != "none":
        report.warn(f"of a shape that no bucket comes near, so much is cropped: {listed}")
        return None
    return Problem(
        what=f"pictures of a shape that no bucket comes near: {listed}",
        allowed=f"to lose up to one prepare.bucket_step, {settings.bucket_step} pixels, with "
        "prepare.crop: none",
        fix="set prepare.crop: center (or random), raise prepare.max_bucket or lower "
        "prepare.min_bucket, or crop them yourself",
    )


def _tell_small(sizes: Sizes, targets: Sizes, settings: Prepare, report: Reporter) -> None:
    """Say which pictures are enlarged, or have a bucket of their own because they are not."""
    usual = {*bucket_sizes(bucket_limits(settings))}
    small = [
        path
        for path, size in sizes.items()
        if is_smaller(size, targets[path]) or targets[path] not in usual
    ]
    if not small:
        return
    listed = first_few(
        [f"{path} ({_told(sizes[path])} → {_told(targets[path])})" for path in small],
        MOST_PRINTED,
    )
    if settings.upscale:
        report.warn(f"enlarged to their bucket, which teaches their blur: {listed}")
    else:
        report.warn(f"smaller than their bucket, so trained on at their own size: {listed}")


def _is_too_large(size: Size, target: Size) -> bool:
    width, height = cover(size, target)
    return width * height > MAX_PIXELS


def _named(paths: Iterable[str], sizes: Sizes) -> Wording:
    return first_few([f"{path} ({_told(sizes[path])})" for path in paths], MOST_PRINTED)


def _told(size: Size) -> Wording:
    return f"{size[0]}×{size[1]}"
