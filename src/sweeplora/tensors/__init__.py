"""Tensors in files: located without torch, read with torch."""
