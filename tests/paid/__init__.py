"""Long, paid jobs against a provider that writes down what it bills, and workers that die."""
