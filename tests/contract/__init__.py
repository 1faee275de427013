"""The HTTP API's promises, each tested once, over every adapter and both databases."""
