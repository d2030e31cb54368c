"""Optimizer, learning rates and their schedules."""
