"""A photo generation worker on PostgreSQL: scheduled, as a daemon, or in a container."""
