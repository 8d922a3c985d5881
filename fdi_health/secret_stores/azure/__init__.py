"""The secret stores of Azure."""
