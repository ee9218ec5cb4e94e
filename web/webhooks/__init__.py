"""Webhooks: what happens in the gateway, sent to HTTP endpoints by the Standard Webhooks specification."""
