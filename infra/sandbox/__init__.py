"""A month on one machine: made-up practices, a real S3 server, and a payer with its own book."""
