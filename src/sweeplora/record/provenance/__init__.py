"""Where a run came from: git state, workspace, environment."""
