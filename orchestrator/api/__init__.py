"""The aiohttp application: vendor routes, feed, authentication, limits."""
