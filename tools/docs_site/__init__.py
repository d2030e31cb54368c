"""The documentation's generated pages, and the hooks through which mkdocs asks for them."""
