"""Experiments on the ranking: watch it in shadow mode, draw a little, and ask what other strengths would have earned.

`ExperimentRetriever` logs, `evaluate` reads the log. Nothing in the rest of the package imports this.
"""

from langchain_persona.experiments.offpolicy import Decision, Estimate, Evaluation, aevaluate, estimate, evaluate
from langchain_persona.experiments.retriever import ExperimentRetriever

__all__ = ["Decision", "Estimate", "Evaluation", "ExperimentRetriever", "aevaluate", "estimate", "evaluate"]
