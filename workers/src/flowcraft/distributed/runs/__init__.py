"""What a run is and becomes: its header, its verbs, its blueprint, its end, its family."""
