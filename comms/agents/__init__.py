"""Agents and what they do together: states, rules and permissions. What runs them calls these stories."""
