"""The pure parts of accounts: which webhooks are due, where they may go, how they are signed."""
