"""Mixed load for a long time, while servers and clients are killed."""
