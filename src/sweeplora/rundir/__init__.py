"""The run folder: all that a supervisor and a training share."""
