"""Configurations: composing them from groups, and reading a `_target_`'s arguments from source."""
