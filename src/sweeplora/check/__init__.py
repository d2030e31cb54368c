"""Finds everything that can be wrong with a run before any compute is spent."""
