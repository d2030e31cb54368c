"""A recorded run brought back: its workspace, configuration and inputs, from its folder or the tracking server."""
