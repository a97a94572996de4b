"""YAML files of claims: questions, and the verdicts that the runs give."""
