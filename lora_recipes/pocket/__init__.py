"""The pocket: a small SDXL, pretrained on pictures that this package draws, shipped with it.

`world` draws the captioned pictures, `pretrain` trains the weights in `MODEL_DIR` on them,
`judge` says what a picture shows, `demo` draws the subject that the demo adapter learns.
Importing this package, `world`, `judge` or `demo` loads no torch.
"""

from pathlib import Path

MODEL_DIR = Path(__file__).resolve().parent / "model"
"""The diffusers folder with the pretrained weights."""
