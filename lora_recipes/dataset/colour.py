"""From Pillow's many colour modes to sRGB with 8 bits per channel, and an alpha beside it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

PLAIN = {"1": "L", "L": "L", "RGB": "RGB", "RGBX": "RGB", "CMYK": "CMYK", "YCbCr": "RGB"}
"""Modes without alpha, and what they become before their colour profile is applied."""

WITH_ALPHA = {"LA": "L", "RGBA": "RGB", "RGBa": "RGB", "PA": "RGB", "P": "RGB"}
"""Modes with an alpha channel or a palette that may have one."""

SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The colour spaces of ICC profiles, as Pillow's modes."""


class Unusable(Exception):
    """A colour mode without a defined way to 8-bit RGB."""


def to_rgb(
    image: Image.Image, icc: bytes | None, notes: list[str]
) -> tuple[Image.Image, Image.Image | None]:
    """The picture in sRGB, and its alpha, or None where every pixel is opaque.

    Args:
        image: in any mode; `info["transparency"]` counts.
        icc: the file's colour profile. Applied where it is usable, else the picture is taken as
            sRGB, and said to be.
        notes: what was unusual is appended here.

    Returns:
        Mode RGB, and mode L or None.

    Raises:
        Unusable: floating point, 32-bit and Lab pictures.
    """
    flat, alpha = _split(image, notes)
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    return _to_srgb(flat, icc, notes), alpha


def flatten(rgb: Image.Image, alpha: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Lay a picture (RGB, alpha as L) on one colour."""
    canvas = Image.new("RGB", rgb.size, background)
    canvas.paste(rgb, mask=alpha)
    return canvas


def _split(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """The colours as L, RGB or CMYK, and the alpha."""
    if image.mode.startswith("I;16"):
        return _sixteen_bits(image)
    if image.mode not in PLAIN | WITH_ALPHA:
        raise Unusable(f"has a colour mode that is not read ({image.mode})")
    if image.mode in {"P", "PA"}:
        notes.append("with a palette")
    if image.mode in WITH_ALPHA or image.has_transparency_data:
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            return rgba.convert(WITH_ALPHA.get(image.mode, "RGB")), rgba.getchannel("A")
        return image.convert("RGB"), None
    return _as(PLAIN[image.mode], image), None


def _sixteen_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Grey with 16 bits: the high byte, as for 16-bit RGB. Pillow's own `convert` clips at 255."""
    values = np.asarray(image)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey, None
    return grey, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))


def _to_srgb(image: Image.Image, icc: bytes | None, notes: list[str]) -> Image.Image:
    converted = _by_profile(image, icc, notes) if icc else None
    if converted is not None:
        return converted
    if image.mode == "CMYK":
        notes.append("in CMYK without a usable ICC profile, so their colours are approximate")
    return _as("RGB", image)


def _as(mode: str, image: Image.Image) -> Image.Image:
    """`convert` copies even where nothing is to be converted: 14 ms for 12 megapixels."""
    return image if image.mode == mode else image.convert(mode)


def _by_profile(image: Image.Image, icc: bytes, notes: list[str]) -> Image.Image | None:
    """The picture converted by its profile; None where the profile is sRGB or of no use."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        name = " ".join(ImageCms.getProfileDescription(profile).split())
        space = SPACES.get(profile.profile.xcolor_space)
        if "srgb" in name.lower() and space == "RGB":
            return None
        if (image.mode, space) == ("L", "RGB"):
            image = image.convert("RGB")
        if image.mode != space:
            raise ImageCms.PyCMSError(f"a profile for {space} in a picture of {image.mode}")
        converted = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("with a colour profile that cannot be used, so taken as sRGB")
        return None
    notes.append(f'converted to sRGB from the colour profile "{name}"')
    return converted
