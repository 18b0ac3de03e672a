"""What people look at: texts, tables, figures and pages made from results. Reads files, and never imports torch.

cells.py       the runs of a plan in rows and columns
stats.py       mean, spread, t interval of a few seeds, as a person reads them
measures.py    what a table may show of its runs: where a manifest has it, and how it is written
rules.py       selection rules: their meaning, and the table of one
tables.py      the table of an experiment, and the texts that are written
compare.py     beside other numbers; rows against each other
published.py   published numbers and a person's own, and whether they may be compared
provenance.py  what made the numbers, and which are not there
subtable.py    the table of one rule in Markdown, LaTeX and HTML
figures.py     the figures of an experiment
curves.py      accuracy and pruning over epochs, final accuracies of many rows
rates.py       accuracy over the noise rate
memorisation.py  what the network predicts for mislabelled samples
ranks.py       ranks of rows over settings, and their test
reliability.py accuracy over confidence
heatmaps.py    noise, confusion, accuracy over q and k as maps
canvas.py      one style sheet, panels and what stands around them, files
page.py        pages of HTML, from templates (report.html, gallery.html)
escape.py      names and notes of people in Markdown, LaTeX, HTML and CSV
gallery.py     a page of pictures whose labels are doubtful (gallery.html)
ranking.py     samples by how probably their label is wrong
paths.py       where a table, figure or report is written, and by which command
records.py     tables and reports as files, with a record of their runs, by which they are verified
"""
