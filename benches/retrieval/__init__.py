"""Ingesting and finding beside peers."""
