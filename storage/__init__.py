"""Where data lives: declarations, the writer, caches, pages and files. Nothing outside writes SQL."""
