"""Base models: the protocol that training needs, the SD 1.5 and SDXL families, and a small random model for tests."""
