"""Check your own work, or grade a folder of submissions

python -m course check            every component
python -m course check 03         those of lesson 03
python -m course grade FOLDER     every submission in a folder (teachers)"""

import argparse
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
    all_ = commands.add_parser("grade")
    all_.add_argument("submissions", type=Path)
    all_.add_argument("--out", type=Path, default=Path("grades"))
    all_.add_argument("--teacher", type=Path)
    all_.add_argument("--language", choices=LANGUAGES, default="en")
    args = parser.parse_args()
    if args.command == "check":
        from .check import check

        check(args.root, args.tasks, args.language)
    else:
        from .grade import grade

        grade(args.submissions, args.out, args.teacher, args.language)


if __name__ == "__main__":
    main()
