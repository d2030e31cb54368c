"""A network's file: what it holds, whether it fits, the update it makes, how it is written."""
