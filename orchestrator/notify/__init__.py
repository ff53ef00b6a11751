"""Notifications: hooks (rules), the outbox, delivery, and channels (email, webhook, plugins)."""
