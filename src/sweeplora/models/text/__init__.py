"""From a caption to the hidden states that the U-Net attends to: tokens, emphasis, encoding."""
