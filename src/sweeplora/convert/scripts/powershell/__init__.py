"""PowerShell: its expressions, and an evaluator that names what it cannot know."""
