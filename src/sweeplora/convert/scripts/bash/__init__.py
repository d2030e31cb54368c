"""Bash: a parser of its grammar, and an evaluator that names what it cannot know."""
