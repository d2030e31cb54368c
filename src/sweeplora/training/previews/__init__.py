"""Preview images: prompts, samplers and drawing."""
