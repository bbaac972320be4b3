"""What is known of keys, beyond the policy file: records, usage, alerts."""
