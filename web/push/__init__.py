"""Notifications on browsers that have subscribed: Web Push (RFC 8030), encrypted (RFC 8291), signed (RFC 8292)."""
