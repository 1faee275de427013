"""Scenergy: images for products, generated and edited by workers on Cloud Run, kept on R2."""
