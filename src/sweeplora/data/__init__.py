"""Reads folders of captioned images and makes the batches of a training from them."""
