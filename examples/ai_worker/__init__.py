"""Image generation in a container: a web app enqueues, workers with a key each ask Gemini."""
