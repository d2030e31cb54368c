"""The page on which a person compares the previews of two trials."""
