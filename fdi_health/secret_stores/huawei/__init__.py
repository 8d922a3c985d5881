"""The secret stores of Huawei Cloud."""
