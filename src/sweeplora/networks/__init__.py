"""Adapter networks: their options, the modules they attach to, and their files."""
