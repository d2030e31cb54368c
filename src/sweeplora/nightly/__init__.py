"""Nightly regression sweeps: train a fixed question, compare it with a committed baseline, and say what got worse."""
