"""The processes in which learners' code runs, and what keeps them apart; README.md draws them."""
