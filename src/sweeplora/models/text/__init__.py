"""From a caption to what the U-Net attends to: tokens, emphasis, hidden states."""
