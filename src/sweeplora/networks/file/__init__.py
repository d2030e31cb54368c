"""A network's file: reading it, checking that it fits, computing its update, writing it."""
