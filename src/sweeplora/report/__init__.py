"""The results of a study, from its run folders: leaderboard, figures, plots."""
