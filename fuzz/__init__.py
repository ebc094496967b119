"""What `make fuzz` runs: long searches for input that breaks the service."""
