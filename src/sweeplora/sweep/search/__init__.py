"""What a sweep may propose, and which Optuna sampler proposes it."""
