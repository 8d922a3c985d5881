"""The secret store of HashiCorp Vault and OpenBao."""
