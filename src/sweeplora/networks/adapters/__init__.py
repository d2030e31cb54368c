"""The algorithms' adapters: what takes a layer's forward over."""
