"""The training of one run folder, from its config to its weights and result."""
