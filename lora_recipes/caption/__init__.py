"""Captions by a model, for pictures that have none: the command `caption`. No stage needs it."""
