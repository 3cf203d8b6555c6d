"""Check your own work, or grade a folder of submissions

python -m course check            every component
python -m course check 03         those of lesson 03
python -m course check train      the two trainings: they are run, kept in trained/, judged
python -m course grade FOLDER     every submission in a folder (teachers)"""

import argparse
import os
import sys
from pathlib import Path
from .table import LANGUAGES


def main():
    parser = argparse.ArgumentParser(
        prog="course",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("check")
    one.add_argument("tasks", nargs="*")
    one.add_argument("--root", default=".")
    one.add_argument("--language", choices=LANGUAGES, default="en")
    one.add_argument("--strict", action="store_true", help="fail unless all points are there")
    all_ = commands.add_parser("grade")
    all_.add_argument("submissions", type=Path)
    all_.add_argument("--out", type=Path, default=Path("grades"))
    all_.add_argument("--teacher", type=Path)
    all_.add_argument("--language", choices=LANGUAGES, default="en")
    all_.add_argument("--only", nargs="+", metavar="NAME", help="of components and trainings")
    all_.add_argument("--photos", type=Path, help="of real text, instead of generated words")
    args = parser.parse_args()
    if args.command == "check":
        from .check import check, train

        judge = train if args.tasks == ["train"] else check
        share = judge(args.root, args.tasks, args.language)
        sys.exit(args.strict and share < 1)
    elif not hasattr(os, "fork"):
        parser.error("grading forks, which Windows cannot: grade on Linux, macOS or in WSL")
    else:
        from .grade import grade

        how = args.teacher, args.language, args.only, args.photos
        grade(args.submissions, args.out, *how)


if __name__ == "__main__":
    main()
