"""The secret stores of AWS."""
