"""The pocket: a miniature SDXL, shipped with the package. Its weights lie in `model/`.

How they were made, and how the demo is judged, is `pocket_training/` in the repository.
"""
