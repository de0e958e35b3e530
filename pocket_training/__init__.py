"""How the pocket was made, and how its demo is judged: of this repository, not of the package.

`world` draws the captioned pictures, and `python -m pocket_training` pretrains on them the weights
that ship in `lora_recipes/pocket/model`. `python -m pocket_training.demo` draws the demo's data;
`judge` says what a picture shows, `evaluate` and `prove` hold the demo against what was promised.
"""
