"""jobq's own numbered steps, as Django runs them."""
