"""From bytes to upright, opaque, 8-bit sRGB pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from lora_recipes.dataset import decode as module
from lora_recipes.dataset import limits
from lora_recipes.dataset.decode import Unreadable, decode, sniff
from tests.dataset.pictures import data_of, photo, put

LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}}
ORIENTED = "turned upright as their EXIF orientation asks"


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def oriented(kind: str, orientation: int, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return data_of(photo(), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_file_gives_its_pixels_back(kind):
    picture = decode(data_of(photo(), kind, **LOSSLESS[kind]))
    assert picture.format == kind
    assert picture.notes == ()
    assert picture.image.mode == "RGB"
    assert np.array_equal(picture.image, photo())


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpeg"), ("AVIF", ".avif")])
def test_a_lossy_file_comes_close_to_its_pixels(kind, suffix):
    picture = decode(data_of(photo(), kind, quality=95), suffix)
    assert (picture.format, picture.notes) == (kind, ())
    assert np.abs(pixels(picture.image) - pixels(photo())).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_each_exif_orientation_turns_the_picture_upright(kind, orientation):
    stored = photo()
    methods = [None, None, *(Image.Transpose(m) for m in (0, 3, 1, 5, 4, 6, 2))]
    # 2 mirrored, 3 turned by 180°, 4 upside down, 5 transposed, 6 by 270°, 7 transverse, 8 by 90°
    upright = stored.transpose(methods[orientation]) if orientation > 1 else stored
    picture = decode(oriented(kind, orientation, **LOSSLESS[kind]))
    assert np.array_equal(picture.image, upright)
    assert picture.notes == ((ORIENTED,) if orientation > 1 else ())


def test_a_jpegs_orientation_counts_too():
    picture = decode(oriented("JPEG", 6, quality=95))
    upright = photo().transpose(Image.Transpose.ROTATE_270)
    assert picture.image.size == (30, 40)
    assert np.abs(pixels(picture.image) - pixels(upright)).mean() < 3


def test_the_bytes_and_not_the_suffix_tell_the_format():
    picture = decode(data_of(photo()), ".jpg")
    assert picture.format == "PNG"
    assert picture.notes == ("named .jpg but holding PNG, which is what counts",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_and_is_said(kind):
    cmyk = photo().convert("CMYK")
    picture = decode(data_of(cmyk, kind))
    close = 4 if kind == "JPEG" else 0
    assert np.abs(pixels(picture.image) - pixels(photo())).mean() <= close
    assert picture.notes == (
        "in CMYK without a usable ICC profile, so their colours are approximate",
    )


def test_a_palette_becomes_its_colours():
    palette = photo().quantize(16)
    picture = decode(data_of(palette))
    assert np.array_equal(picture.image, palette.convert("RGB"))
    assert picture.notes == ("with a palette",)


@pytest.mark.parametrize(("background", "colour"), [("white", 255), ("black", 0), ("gray", 128)])
def test_alpha_is_laid_on_the_background(background, colour):
    picture = photo(4, 4)
    alpha = Image.fromarray(np.array([[0, 85, 170, 255]] * 4, np.uint8))
    picture.putalpha(alpha)
    done = decode(data_of(picture), background=background)
    share = pixels(alpha)[..., None] / 255
    expected = share * pixels(photo(4, 4)) + (1 - share) * colour
    assert np.abs(pixels(done.image) - expected).max() <= 1
    assert np.array_equal(pixels(done.image)[:, 0], np.full((4, 3), colour))
    assert done.notes == ("partly transparent, where prepare.background shows",)


def test_an_alpha_that_hides_nothing_is_not_mentioned():
    picture = photo()
    picture.putalpha(255)
    done = decode(data_of(picture))
    assert np.array_equal(done.image, photo())
    assert done.notes == ()


def test_a_palette_with_a_transparent_colour_shows_the_background_there():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    done = decode(data_of(palette, transparency=0), background="black")
    assert pixels(done.image).tolist() == [[[0, 0, 0], [40, 50, 60]]]
    assert done.notes == (
        "with a palette",
        "partly transparent, where prepare.background shows",
    )


def test_one_transparent_rgb_colour_shows_the_background():
    picture = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    done = decode(data_of(picture, transparency=(1, 2, 3)))
    assert pixels(done.image).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_grey_with_alpha_is_laid_on_the_background():
    picture = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 0)])
    assert pixels(decode(data_of(picture)).image).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_black_and_white_become_equal_channels(mode):
    grey = photo().convert(mode)
    assert np.array_equal(decode(data_of(grey)).image, grey.convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind):
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    picture = decode(data_of(Image.fromarray(values), kind))
    assert pixels(picture.image)[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert picture.notes == ("with 16 bits per channel, of which the high 8 are used",)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *more, png_chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b"")


def test_sixteen_bit_rgb_is_scaled_as_grey_is():
    row = b"\0" + np.array([0, 256, 65535], ">u2").tobytes()
    picture = decode(raw_png(1, 1, 16, 2, row))
    assert pixels(picture.image).tolist() == [[[0, 1, 255]]]
    assert picture.notes == ("with 16 bits per channel, of which the high 8 are used",)


def test_a_transparent_grey_of_16_bits_shows_the_background():
    row = b"\0" + np.array([300, 301], ">u2").tobytes()
    picture = decode(raw_png(2, 1, 16, 0, row, png_chunk(b"tRNS", struct.pack(">H", 300))))
    assert pixels(picture.image)[0, :, 0].tolist() == [255, 1]


def test_of_an_animation_the_first_frame_is_used_and_that_is_said():
    frames = [photo(seed=1), photo(seed=2)]
    data = data_of(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    picture = decode(data)
    assert np.array_equal(picture.image, frames[0])
    assert picture.notes == ("with several frames or pages, of which the first is used",)


def test_a_colour_profile_is_converted_to_srgb():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    swapped = red_blue_swapped(lab.tobytes())
    picture = decode(data_of(photo(), icc_profile=swapped))
    back = Image.merge("RGB", photo().split()[::-1])
    assert np.abs(pixels(picture.image) - pixels(back)).max() <= 2
    assert picture.notes == ('converted to sRGB from the colour profile "swapped"',)


def red_blue_swapped(profile: bytes) -> bytes:
    """An sRGB profile whose red and blue primaries changed places, under another name."""
    data = bytearray(profile)
    count = struct.unpack(">I", data[128:132])[0]
    tags = {}
    for i in range(count):
        at = 132 + 12 * i
        tags[bytes(data[at : at + 4])] = at
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    name = "sRGB built-in".encode("utf-16-be")
    assert name in data
    return bytes(data).replace(name, "swapped      ".encode("utf-16-be"))


def test_an_srgb_profile_moves_no_pixel_and_is_not_mentioned():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = decode(data_of(photo(), icc_profile=srgb))
    assert np.array_equal(picture.image, photo())
    assert picture.notes == ()


def test_a_profile_that_cannot_be_used_leaves_the_pixels_and_is_said():
    picture = decode(data_of(photo(), "TIFF", icc_profile=b"no profile at all"))
    assert np.array_equal(picture.image, photo())
    assert picture.notes == ("with a colour profile that cannot be used, so taken as sRGB",)


def test_what_pillow_warns_of_is_said():
    data = data_of(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    notes = decode(data).notes
    assert len(notes) == 1
    assert notes[0].startswith("of which Pillow says: ")


BOMB = raw_png(30000, 30000, 8, 2, b"\0" * 1000)
DAMAGED_FIX = "copy it again from where it came, or delete it"


@pytest.mark.parametrize(
    ("data", "reason", "fix"),
    [
        (b"", "is empty (0 bytes)", DAMAGED_FIX),
        (
            b"a shopping list",
            "is named .jpg but holds no picture",
            "give it its right suffix, or move it out of the data folder",
        ),
        (b"GIF89a....", "holds GIF, which is not read", "convert it to JPEG or PNG"),
        (
            b"\0\0\0\x1cftypheic\0\0\0\0mif1heic",
            "holds HEIC, which is not read",
            "convert it to JPEG or PNG",
        ),
        (BOMB, "has more than 178,956,970 pixels and was not decoded", "scale it down"),
        (
            data_of(photo(400, 300), "JPEG")[:3000],
            "is a damaged JPEG (image file is truncated (13 bytes not processed))",
            DAMAGED_FIX,
        ),
        (
            data_of(Image.new("F", (2, 2)), "TIFF"),
            "has 32 bits per channel, which has no defined brightness here",
            "save it with 8 or 16 bits per channel",
        ),
        (
            data_of(Image.new("LAB", (2, 2)), "TIFF"),
            "has a colour mode that is not read (LAB)",
            "save it as an ordinary 8-bit RGB picture",
        ),
    ],
    ids=["empty", "text", "gif", "heic", "bomb", "truncated jpeg", "float", "lab"],
)
def test_what_is_no_usable_picture_is_refused_with_reason_and_fix(data, reason, fix):
    with pytest.raises(Unreadable) as caught:
        decode(data, ".jpg")
    assert (caught.value.reason, caught.value.fix) == (reason, fix)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_file_cut_anywhere_is_refused_or_keeps_its_size(kind):
    """A header without its pixels must never pass for a picture of another size."""
    data = data_of(photo(), kind)
    refused = 0
    for length in range(0, len(data), max(1, len(data) // 40)):
        try:
            assert decode(data[:length]).image.size == (40, 30)
        except Unreadable:
            refused += 1
    assert refused >= 20


def verdict(data: bytes, **options) -> str:
    try:
        return str(decode(data, **options).size)
    except Unreadable as error:
        return error.reason


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_look_finds_the_same_damage_as_the_whole_picture(progressive):
    """The file is read to its end in both cases, whatever its pixels are scaled to."""
    data = data_of(noise(640, 480), "JPEG", progressive=progressive)
    verdicts = set()
    for length in [*range(0, len(data), len(data) // 60), len(data) - 2, len(data)]:
        whole = verdict(data[:length])
        assert verdict(data[:length], draft=60) == whole
        verdicts.add(whole)
    assert "(640, 480)" in verdicts
    assert any("truncated" in text for text in verdicts)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_look_at_a_large_jpeg_is_a_smaller_picture_that_knows_its_size(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = data_of(photo(800, 600), "JPEG", quality=95, exif=exif)
    whole, look = decode(data), decode(data, draft=100)
    assert (whole.image.size, look.size, look.notes) == (whole.size, whole.size, whole.notes)
    assert sorted(look.image.size) == [150, 200]
    small = whole.image.resize(look.image.size, Image.Resampling.BOX)
    assert np.abs(pixels(look.image) - pixels(small)).mean() < 2


def test_a_look_at_anything_else_is_the_whole_picture():
    for data in (data_of(photo(800, 600)), data_of(photo(150, 90), "JPEG")):
        look = decode(data, draft=100)
        assert look.image.size == look.size == decode(data).size


def test_a_header_tells_how_many_pixels_there_will_be(tmp_path):
    put(tmp_path, "a.jpg", data_of(photo(80, 60), "JPEG"))
    put(tmp_path, "b.png", BOMB)
    put(tmp_path, "c.png", "a shopping list")
    counts = [module.pixels_in(tmp_path / name) for name in ("a.jpg", "b.png", "c.png", "no")]
    assert counts == [4800, 0, 0, 0]


def test_the_pixel_limit_is_checked_before_decoding(monkeypatch):
    def explode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(module, "MAX_PIXELS", 1199)
    monkeypatch.setattr(module, "_load", explode)
    with pytest.raises(Unreadable, match="has more than 1,199 pixels and was not decoded"):
        decode(data_of(photo(40, 30)))


def test_a_large_picture_below_the_limit_gives_no_warning(monkeypatch):
    """Pillow warns from half of our limit on; here all warnings are errors."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    picture = decode(data_of(photo(40, 30)))
    assert picture.image.size == (40, 30)
    assert picture.notes == ()


def test_sniffing_text_that_starts_like_a_bitmap_finds_no_picture():
    assert sniff(b"BMW is a maker of cars and motorcycles") is None
    assert sniff(data_of(photo(), "BMP")) == "BMP"


def test_a_phones_two_picture_jpeg_is_a_jpeg():
    data = data_of(photo(), "MPO", save_all=True, append_images=[photo(seed=1)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    picture = decode(data, ".jpg")
    assert (picture.format, picture.notes) == ("JPEG", ())
    assert ImageOps.exif_transpose(picture.image).size == (40, 30)


@pytest.mark.parametrize("kind", ["text", "compressed", "international", "profile"])
def test_a_png_with_much_text_or_a_big_profile_is_read(kind):
    info = PngImagePlugin.PngInfo()
    long = "x" * 3_000_000
    if kind == "text":
        info.add_text("workflow", long)
    elif kind == "compressed":
        info.add_text("workflow", long * 10, zip=True)
    elif kind == "international":
        info.add_itxt("workflow", long, zip=True)
    profile = {"icc_profile": long.encode()} if kind == "profile" else {}
    picture = decode(data_of(photo(), "PNG", pnginfo=info, **profile))
    assert np.array_equal(picture.image, photo())


def test_a_profile_that_is_too_long_is_not_called_damage():
    with pytest.raises(Unreadable) as caught:
        decode(data_of(photo(), "PNG", icc_profile=b"x" * (17 * 2**20)))
    assert caught.value.reason == (
        "has a colour profile or text of more than 16 MiB, which is not read"
    )


@pytest.mark.parametrize(
    ("kind", "mode", "edge"),
    [("PNG", "RGB", 9000), ("PNG", "RGBA", 6500), ("WEBP", "RGB", 6000), ("JPEG", "RGB", 13000)],
)
def test_a_picture_that_takes_too_much_memory_is_refused_by_its_header(
    monkeypatch, kind, mode, edge
):
    data = data_of(Image.new(mode, (64, 64)), kind)
    opened = Image.open

    def large(*args, **kwargs):
        image = opened(*args, **kwargs)
        image._size = (edge, edge)
        return image

    monkeypatch.setattr(module.Image, "open", large)
    with pytest.raises(Unreadable, match=r"MiB of memory and was not decoded; the most is 600 MiB"):
        decode(data)


def test_a_jpeg_of_very_many_scans_is_refused():
    data = data_of(photo(), "JPEG", progressive=True)
    assert 1 < limits.scans(data) < 20
    assert limits.scans(data + b"\xff\xda\0\2" * 300) < 20, "what follows the picture is no scan"
    start = data.rindex(b"\xff\xda")
    many = data[:start] + data[start:-2] * 2000 + data[-2:]
    with pytest.raises(Unreadable) as caught:
        decode(many)
    assert str(caught.value).endswith(" scans and was not decoded; the most is 100")


def test_a_png_with_a_palette_missing_is_named():
    data = data_of(photo().quantize(4))
    start = data.index(b"PLTE") - 4
    length = 12 + int.from_bytes(data[start : start + 4])
    with pytest.raises(Unreadable) as caught:
        decode(data[:start] + data[start + length :])
    assert caught.value.reason == "is a damaged PNG (its content makes no sense)"


def test_a_tiff_whose_second_page_is_damaged_is_named():
    first, second = photo(), photo(seed=1)
    data = bytearray(data_of(first, "TIFF", save_all=True, append_images=[second]))
    width = struct.pack("<HHI", 256, 4, 1)
    at = data.rindex(width)
    data[at : at + 2] = b"\xff\xff"  # the page no longer says how wide it is
    with pytest.raises(Unreadable, match="is a damaged TIFF"):
        decode(bytes(data))
