"""How fast and how lean it is: one command a question, results kept in `results/`."""
