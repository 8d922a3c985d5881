"""What is deployed, built and run as the platforms do."""
