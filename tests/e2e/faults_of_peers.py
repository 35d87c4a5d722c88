"""Faults of those that the daemon talks with: clients, readers of its log, whoever writes to its sockets, domains that are killed
while they hold something. Run by tests/e2e/faults.py."""
