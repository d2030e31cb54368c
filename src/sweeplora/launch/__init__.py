"""Where trials run, and how their processes are started, signalled and watched."""
