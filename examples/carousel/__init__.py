"""Carousels for social networks: texts, images, publishing, on a host without worker processes."""
