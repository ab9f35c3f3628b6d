"""Factories: plain async functions with keyword defaults, one module a domain."""
