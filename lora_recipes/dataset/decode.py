"""From a file's bytes to upright, opaque, 8-bit sRGB pixels; whatever was unusual is noted."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from lora_recipes.dataset import limits
from lora_recipes.dataset.colour import Unusable, flatten, to_rgb
from lora_recipes.dataset.suffixes import SUFFIXES

MAX_PIXELS = 178_956_970
"""No larger picture is decoded, in any format. The limit at which Pillow sees a bomb."""

BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128, 128, 128)}

SIDEWAYS = range(5, 9)
"""The EXIF orientations that swap width and height."""

STRIP = 64
"""Rows of a picture that are hashed at once."""

BITS_PER_SAMPLE = 258
EIGHT, SIXTEEN = 8, 16


class Unreadable(Exception):
    """A file that is no picture, or a damaged or unsupported one: why, and what to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason, fix)  # what another process's copy is made of
        self.reason, self.fix = reason, fix

    def __str__(self) -> str:
        return self.reason


class NotRead(Unreadable):
    """A picture in a format that is not read."""


@dataclass(frozen=True)
class Decoded:
    """A decoded picture."""

    image: Image.Image
    """Mode RGB, upright."""

    size: tuple[int, int]
    """Width and height of the whole picture, upright. `image` is smaller if a draft was enough."""

    format: str
    """`JPEG`, `PNG`, `WEBP`, `TIFF`, `BMP` or `AVIF`, by its bytes."""

    notes: tuple[str, ...]
    """What was unusual, to follow "2 pictures "."""

    alpha: Image.Image | None = None
    """Mode L, of `image`'s size: how opaque it was. None where it was so everywhere."""


def sniff(data: bytes) -> str | None:
    """The format that the first 32 bytes tell, or None. Formats that are not read are included."""
    starts = {
        b"\xff\xd8\xff": "JPEG",
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"II+\0": "TIFF",
        b"MM\0+": "TIFF",
        b"GIF8": "GIF",
        b"\xff\x0a": "JPEG XL",
        b"\0\0\0\x0cJXL ": "JPEG XL",
        b"\0\0\0\x0cjP  ": "JPEG 2000",
    }
    for start, name in starts.items():
        if data.startswith(start):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and data[14:18] in {
        bytes([n, 0, 0, 0]) for n in (12, 40, 52, 56, 108, 124)
    }:
        return "BMP"
    if data[4:8] == b"ftyp":
        brands = data[8:32]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIC" if any(b in brands for b in (b"hei", b"hev", b"mif1", b"msf1")) else None
    return None


def decode(
    data: bytes, suffix: str = "", background: str = "white", draft: int | None = None
) -> Decoded:
    """Decode a picture's bytes.

    Orientation: the EXIF tag, all 8. Colours: an ICC profile is converted to sRGB. 16 bits per
    channel: the high byte. Alpha: laid on `background`. Of several frames or pages: the first.

    Args:
        data: the whole file.
        suffix: what the file's name ends in, to note when it lies; empty for no note.
        background: `white`, `black` or `gray`.
        draft: a draft is enough: a JPEG may come at 1/2, 1/4 or 1/8 of its size, as long as no side
            gets shorter than so many pixels. The file is read to its end all the same, so what is
            damaged is found, in half the time; but no pixel is one of the whole picture's.

    Raises:
        Unreadable: no picture, damaged, unsupported, or more than `MAX_PIXELS`.
    """
    name = known_format(data, suffix)
    notes = []
    if suffix and suffix not in SUFFIXES[name]:
        notes.append(f"named {suffix} but holding {name}, which is what counts")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = _open(data, name)
        whole = image.size
        if draft:
            image.draft(None, (draft, draft))  # of all formats, only JPEG's does anything
        reduced = image.size != whole
        orientation = _load(image, name)
        notes.extend(_unusual(image, data, orientation))
        rgb, alpha = _opaque_rgb(image, BACKGROUNDS[background], notes)
    notes.extend(sorted({f"of which Pillow says: {w.message}" for w in caught if _tells(w)}))
    upright = whole[::-1] if orientation in SIDEWAYS else whole
    return Decoded(rgb, upright if reduced else rgb.size, name, tuple(notes), alpha)


def decode_mask(data: bytes, suffix: str = "") -> Decoded:
    """Decode a mask: its `alpha` is how white it is, and 0 where it is transparent.

    Raises:
        Unreadable: as `decode`.
    """
    picture = decode(data, suffix, background="black")
    return replace(picture, alpha=picture.image.convert("L"))


def share(mask: Image.Image) -> float:
    """How much of a picture counts under a mask of mode L: 0 where black, 1 where white."""
    total = sum(value * count for value, count in enumerate(mask.histogram()))
    return total / (255 * mask.width * mask.height)


def pixels_in(file: Path) -> int:
    """How many pixels a file's header promises, quickly; 0 where it cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=list(SUFFIXES)) as image:
                return image.width * image.height
        except Exception:  # whatever is wrong, decoding it will say so
            return 0


def header(file: Path, suffix: str) -> tuple[int, int]:
    """Width and height of the whole picture, upright, from what stands before the pixels.

    Raises:
        OSError: the file cannot be read.
        Unreadable: as `decode`, as far as the header tells.
    """
    with file.open("rb") as opened:
        name = known_format(opened.read(32), suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=[name]) as image:
                size = image.size
                turned = image.getexif().get(limits.ORIENTATION) in SIDEWAYS
        except Image.DecompressionBombError as error:
            raise _too_large() from error
        except Exception as error:  # as in _open
            raise _damaged(name, error) from error
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large()
    return size[::-1] if turned else size


def pixel_hash(image: Image.Image) -> str:
    """`sha256:…` of an RGB picture's or a mask's (mode L) size and pixels."""
    assert image.mode in {"RGB", "L"}
    hasher = hashlib.sha256(f"{image.width}x{image.height}\n".encode())
    for top in range(0, image.height, STRIP):  # the whole would be in memory twice more
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        hasher.update(strip.tobytes())
    return "sha256:" + hasher.hexdigest()


def known_format(data: bytes, suffix: str) -> str:
    """The format of a picture's bytes, of which the first 32 are enough.

    Raises:
        Unreadable: it is none.
        NotRead: a format that is not read.
    """
    if not data:
        raise Unreadable("is empty (0 bytes)", "copy it again from where it came, or delete it")
    name = sniff(data[:32])
    if name is None:
        raise Unreadable(
            f"is named {suffix or 'as a picture'} but holds no picture",
            "give it its right suffix, or move it out of the data folder",
        )
    if name not in SUFFIXES:
        raise NotRead(f"holds {name}, which is not read", "convert it to JPEG or PNG")
    return name


def _open(data: bytes, name: str) -> Image.Image:
    """Read the header only, and refuse by it what is too large to decode."""
    try:
        content = limits.without_text(data) if name == "PNG" else data
        image = Image.open(io.BytesIO(content), formats=[name])
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise _damaged(name, error) from error
    _check_cost(image, data, name)
    return image


def _check_cost(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse by its header what takes too much memory or time to decode."""
    try:
        needed = image.width * image.height * limits.bytes_per_pixel(image) + len(data)
    except Exception as error:  # of damaged EXIF
        raise _damaged(name, error) from error
    if needed > limits.MEMORY:
        raise Unreadable(
            f"would take about {needed // 2**20:,} MiB of memory and was not decoded; the most is "
            f"{limits.MEMORY // 2**20} MiB",
            "scale it down, or save it as a JPEG, which takes less",
        )
    if name == "JPEG" and (scans := limits.scans(data)) > limits.MOST_SCANS:
        raise Unreadable(
            f"has {scans:,} scans and was not decoded; the most is {limits.MOST_SCANS}",
            "save it again as an ordinary JPEG",
        )


def _load(image: Image.Image, name: str) -> int:
    """Decode the pixels; the EXIF orientation, 1 to 8 (TIFF is turned in here)."""
    try:
        orientation = image.getexif().get(limits.ORIENTATION)
        image.load()
    except Exception as error:  # as above
        raise _damaged(name, error) from error
    return next((turn for turn in range(2, 9) if turn == orientation), 1)


def _too_large() -> Unreadable:
    return Unreadable(f"has more than {MAX_PIXELS:,} pixels and was not decoded", "scale it down")


def _damaged(name: str, error: Exception) -> Unreadable:
    said, is_unknown = str(error).strip().rstrip("."), isinstance(error, UnidentifiedImageError)
    if limits.TOO_LONG in said and not is_unknown:
        most = limits.LONGEST_PROFILE // 2**20
        return Unreadable(
            f"has a colour profile or text of more than {most} MiB, which is not read",
            "save it again without metadata",
        )
    detail = "its header makes no sense" if is_unknown else said or "its content makes no sense"
    return Unreadable(
        f"is a damaged {name} ({detail})", "copy it again from where it came, or delete it"
    )


def _unusual(image: Image.Image, data: bytes, orientation: int) -> list[str]:
    notes = []
    if orientation > 1:
        notes.append("turned upright as their EXIF orientation asks")
    # MPO is a JPEG with a preview or a depth map behind it, as phones write them.
    if _frames(image) > 1 and image.format != "MPO":
        notes.append("with several frames or pages, of which the first is used")
    depth = _bits(image, data)
    if depth == SIXTEEN:
        notes.append("with 16 bits per channel, of which the high 8 are used")
    elif depth > EIGHT:
        raise Unreadable(
            f"has {depth} bits per channel, which has no defined brightness here",
            "save it with 8 or 16 bits per channel",
        )
    return notes


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:  # of what follows the first, as above
        raise _damaged(str(image.format), error) from error


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits per channel where more than 8 can reach us: in PNG and TIFF."""
    if image.format == "PNG":
        return data[24]  # IHDR
    tags = getattr(image, "tag_v2", {})
    return int(max(tags.get(BITS_PER_SAMPLE, (EIGHT,))))


def _opaque_rgb(
    image: Image.Image, background: tuple[int, int, int], notes: list[str]
) -> tuple[Image.Image, Image.Image | None]:
    try:
        ImageOps.exif_transpose(image, in_place=True)
        rgb, alpha = to_rgb(image, image.info.get("icc_profile"), notes)
        if rgb.mode != "RGB":
            raise Unusable("has a palette that is missing or makes no sense")
    except Unusable as error:
        raise Unreadable(str(error), "save it as an ordinary 8-bit RGB picture") from error
    except Exception as error:  # as above
        raise _damaged(str(image.format), error) from error
    if alpha is None:
        return rgb, None
    notes.append("partly transparent, where prepare.background shows")
    return flatten(rgb, alpha, background), alpha


def _tells(warning: warnings.WarningMessage) -> bool:
    """Pillow's warnings about the file; its own limit is half of ours, and ours has passed."""
    return not issubclass(
        warning.category, (Image.DecompressionBombWarning, DeprecationWarning, ResourceWarning)
    )
