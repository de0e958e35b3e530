"""How the pocket was made: a tool of this repository, not part of the package.

`python -m pocket_training` pretrains the weights that ship in `lora_recipes/pocket/model`,
`python -m pocket_training.demo` draws the demo's data. What the package itself needs (the world
that the pictures come from, the judge, the model) is in `lora_recipes.pocket`.
"""
