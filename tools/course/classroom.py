"""The workflow that GitHub Classroom reads: a step for each component, then the reporter

By the published format the workflow is called "Autograding Tests", its only job
`run-autograding-tests`, and a step gives its points whole or not at all."""

from .table import tasks

HEAD = """name: Autograding Tests
on: [push, workflow_dispatch]
permissions:
  actions: read
  contents: read
jobs:
  run-autograding-tests:
    runs-on: ubuntu-latest
    if: github.actor != 'github-classroom[bot]'
    steps:
      - name: Checkout code
        uses: actions/checkout@v4
      - name: Python
        uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - name: Environment
        run: make setup
"""
STEP = """      - name: {name}
        id: {id}
        uses: classroom-resources/autograding-command-grader@v1
        with:
          test-name: {name}
          command: .venv/bin/python -m course check --strict {name}
          timeout: 10
          max-score: {points}
"""
TAIL = """      - name: Autograding Reporter
        uses: classroom-resources/autograding-grading-reporter@v1
        env:
{results}
        with:
          runners: {runners}
"""


def workflow():
    "The text of `.github/workflows/classroom.yml`"
    ids = {name: name.lower() for name in tasks()}
    steps = [STEP.format(name=n, id=i, points=tasks()[n]["points"]) for n, i in ids.items()]
    result = '          {}_RESULTS: "${{{{steps.{}.outputs.result}}}}"'
    results = "\n".join(result.format(i.upper(), i) for i in ids.values())
    return HEAD + "".join(steps) + TAIL.format(results=results, runners=",".join(ids.values()))
