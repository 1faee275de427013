"""Adapters for frameworks, one each."""
