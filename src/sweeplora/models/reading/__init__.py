"""Reading models from disk: diffusers folders and single files."""
