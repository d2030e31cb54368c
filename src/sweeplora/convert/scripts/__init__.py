"""Scripts, notebooks and configuration files as the commands they would run; nothing is executed."""
