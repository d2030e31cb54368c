"""Converts an sd-scripts command line to a configuration, with a report on what became of each flag."""
