"""The screens: each reads what it shows, and does what its forms ask."""
