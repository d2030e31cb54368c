"""Models as they lie on disk: diffusers folders and single files."""
