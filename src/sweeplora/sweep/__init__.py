"""Sweeps: what to try next, where it runs, how it ended; no torch and no diffusers here."""
