"""The client without a limiter: what it sends, what it makes of answers, and its arithmetic."""
