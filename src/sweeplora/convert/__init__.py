"""A command line of sd-scripts into a configuration, and a report of what became of each flag."""
