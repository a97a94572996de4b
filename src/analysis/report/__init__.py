"""The page, the Markdown, the tables and the figures of a report."""
