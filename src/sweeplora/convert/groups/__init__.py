"""sd-scripts' flags as config groups, a file a group."""
