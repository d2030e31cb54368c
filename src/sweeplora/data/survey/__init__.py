"""What is in the folders of a data set, good or not: told in full, where a training refuses at the first fault."""
