"""The algorithms' adapters, which replace a layer's forward."""
