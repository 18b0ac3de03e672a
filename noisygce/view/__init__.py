"""What people look at: texts, tables, figures and pages made from results. Reads files, and never imports torch.

    cells.py       the runs of a plan in rows and columns
    stats.py       mean, spread, t interval of a few seeds, as a person reads them
    measures.py    what a table may show of its runs, and how that is written
    tables.py      the table of an experiment, and the texts that are written
    compare.py     beside published or reference numbers; rows against each other
    published.py   published numbers, and whether they may be compared
    provenance.py  what made the numbers, and which are not there
    sheet.py       one table in Markdown, LaTeX and HTML
    figures.py     the figures of an experiment
    curves.py      accuracy and pruning over epochs, final accuracies of many rows
    memorisation.py  what becomes of mislabelled samples
    regret.py      what selection rules stay below the best epoch
    ranks.py       ranks of rows over settings, and their test
    reliability.py accuracy over confidence
    heat.py        noise, confusion, accuracy over q and k as maps
    canvas.py      one style sheet, panels and what stands around them, files
    page.py        pages of HTML, from templates (report.html, gallery.html)
    escape.py      names and notes of people in Markdown, LaTeX, HTML and CSV
    gallery.py     a page of pictures whose labels are doubtful (gallery.html)
    ranking.py     samples by how probably their label is wrong
    places.py      where what is written stands, and by which command
    written.py     tables and reports as files, with a record of their runs, by which they are verified

May import sweep, results and what is below them.
"""
