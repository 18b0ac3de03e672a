"""noisygce: reproducible experiments on learning with noisy labels.

    python -m noisygce.train loss=tgce noise=pair rate=0.4      trains one run, or goes on with it
    python -m noisygce.train -m experiment=demo                 trains a sweep of runs; start it again to go on
    python -m noisygce.status experiment=demo                   how far its runs are, and the time left
    python -m noisygce.table experiment=demo                    its table, complete or not: Markdown, LaTeX, CSV
    python -m noisygce.figure experiment=demo                   its figures: PDF, PNG, SVG
    python -m noisygce.report experiment=demo                   one HTML page with all of it
    python -m noisygce.verify                                   whether results are what they say, without training
    python -m noisygce.reproduce RUN                            trains a finished run again and compares the two
    python -m noisygce.bench                                    how fast it is here, beside a plain loop
    python -m noisygce.labels out=labels.npy noise=pair         noisy labels as a file, for another code base
    python -m noisygce.doctor                                   whether this machine can train, and what to do if not

Each says more with --help; noisygce.train --help lists every data set, noise, loss and value.
"""

import sys


def main() -> None:
    """Prints what there is; exit code 2 where something else than that was asked for."""
    words = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    if words:
        commands = "train, status, table, figure, report, verify, reproduce, bench, labels or doctor"
        print(f"noisygce: {words[0]}: say python -m noisygce.COMMAND, which is {commands}", file=sys.stderr)
        sys.exit(2)
    print((__doc__ or "").strip())


if __name__ == "__main__":
    main()
