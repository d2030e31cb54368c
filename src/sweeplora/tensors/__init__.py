"""Tensors in files: found without torch, read with it."""
