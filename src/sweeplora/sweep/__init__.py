"""Sweeps: what to try next, where it runs, how it ended; imports neither torch nor diffusers."""
