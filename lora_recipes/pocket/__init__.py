"""The pocket: a miniature SDXL, shipped with the package.

How its weights were made, and how the demo is judged, is `pocket_training/` in the repository.
"""

from pathlib import Path

MODEL_DIR = Path(__file__).resolve().parent / "model"
"""The diffusers folder with the pretrained weights."""
