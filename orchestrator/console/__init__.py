"""Pages for people, over the public API: what they show and do, any client could with the same key."""
