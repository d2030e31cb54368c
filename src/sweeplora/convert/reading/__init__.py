"""What sd-scripts is told: shell and batch scripts, config files, its own flags."""
