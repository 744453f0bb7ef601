"""Care of a whole database: backed up, verified, moved, vacuumed."""
