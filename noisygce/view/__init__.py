"""What people look at, made from results: cells and their statistics, sheets of a table, figures, a page."""
