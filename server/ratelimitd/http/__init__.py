"""The HTTP side: probes for orchestrators, metrics for scrapers."""
