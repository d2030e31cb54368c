"""sd-scripts' flags as config groups, one file per group."""
