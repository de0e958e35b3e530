"""Whatever a stranger wrote: one named error, or a right result. `make fuzz` looks for an hour."""
