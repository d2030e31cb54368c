"""Base models: the protocol that training needs, SDXL, and a random model of SDXL's shape in a second."""
