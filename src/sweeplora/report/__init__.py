"""What came of a study, from its run folders: leaderboard, figures, plots."""
