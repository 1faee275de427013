"""Leora: cards and licences are scanned in the background, without a worker process."""
