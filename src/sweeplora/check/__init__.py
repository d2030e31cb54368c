"""Everything that can be wrong with a run, found before compute."""
