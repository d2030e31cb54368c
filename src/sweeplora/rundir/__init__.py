"""The run folder: the only thing a supervisor and a training share."""
