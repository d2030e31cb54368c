"""Configurations: composed from their groups, and what a `_target_` takes, read from source."""
