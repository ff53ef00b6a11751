"""The default store: one SQLite file, one writer, group commit."""
