"""`--network_args`: which ones each network module of sd-scripts reads, and the keys they become."""
