"""What the rows are made of: raw frames, hostile peers, watched processes, planted faults."""
