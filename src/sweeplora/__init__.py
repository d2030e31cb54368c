"""Experiment tracking and sweep orchestration for LoRA training of diffusion models."""
