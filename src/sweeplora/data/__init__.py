"""From a folder of captioned images to the batches that a training step takes."""
