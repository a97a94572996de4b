"""The report: page, Markdown, tables, figures."""
