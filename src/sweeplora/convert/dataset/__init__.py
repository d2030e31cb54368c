"""Images and captions: options of flags, datasets and subsets as keys of the group `data`."""
