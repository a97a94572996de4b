"""How texts, tables and figures look, for all that shows something."""
