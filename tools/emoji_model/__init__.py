"""The program that builds the shipped emoji model and its demo sets."""
