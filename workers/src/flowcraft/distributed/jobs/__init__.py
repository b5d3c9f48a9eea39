"""What a worker does: a message becomes a job, a job takes turns at node keys, a turn commits a record."""
