"""Reads sd-scripts' input: launch commands, config files, and its own flags."""
