"""Preview images: prompts, samplers, drawing."""
