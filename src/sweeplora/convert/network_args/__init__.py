"""`--network_args`: what each network module of sd-scripts reads of them, and the keys they become."""
