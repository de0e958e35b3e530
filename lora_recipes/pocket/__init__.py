"""The pocket: a miniature SDXL, pretrained on pictures that `world` draws, shipped with it.

`world` draws the captioned pictures, `judge` says what a picture shows, `evaluate` and `prove`
hold the demo against what was promised. The weights in `MODEL_DIR` were trained by the
repository's `pocket_training`. Importing any of it loads no torch.
"""

from pathlib import Path

MODEL_DIR = Path(__file__).resolve().parent / "model"
"""The diffusers folder with the pretrained weights."""
