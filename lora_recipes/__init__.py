"""Reproducible training recipes for SDXL LoRA adapters."""

__version__ = "0.1.0"
