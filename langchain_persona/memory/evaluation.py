"""What other strengths would have earned, as a table for people."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_persona.errors import ConfigError
from langchain_persona.learning import Estimate

__all__ = ["Evaluation"]

_FEW = 30


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Estimates for some strengths; `print(evaluation)` gives a table.

    Attributes:
        estimates: one for each strength, in the order asked for.
        users: who rated.
        retrievals: how many were rated.
        ratings: ratings evaluated.
        left_out: ratings without what an evaluation needs: logged by an older version, with MMR or with a least
            relevance, of an unknown retrieval, or unreadable.
        shadow: ratings in shadow mode.
        strongest: the highest strength that was logged; 0 without ratings.
        clip: bound on the weights.
    """

    estimates: tuple[Estimate, ...]
    users: int = 0
    retrievals: int = 0
    ratings: int = 0
    left_out: int = 0
    shadow: int = 0
    strongest: float = 0.0
    clip: float = 10.0

    def of(self, strength: float) -> Estimate:
        """The estimate for one strength.

        Raises:
            ConfigError: it was not asked for.
        """
        for one in self.estimates:
            if one.strength == strength:
                return one
        raise ConfigError(f"strength {strength} was not evaluated, only {[one.strength for one in self.estimates]}")

    def __str__(self) -> str:
        """A table, and how far to trust it."""
        lines = [f"{self.ratings} ratings of {self.retrievals} retrievals by {self.users} users."]
        if self.left_out:
            lines.append(f"{self.left_out} more ratings were logged without what an evaluation needs.")
        if not self.estimates or not self.ratings:
            return "\n".join([*lines, "There is nothing to evaluate."])
        first = self.estimates[0]
        lines.append("")
        if first.ratings:
            lines += [
                f"Drawn (explore > 0), {first.ratings} ratings: inverse propensity scoring, weights to {self.clip:g}.",
                f"{'strength':<10}{'IPS':<26}{'SNIPS':<26}{'effective':<11}without support",
            ]
            for one in self.estimates:
                cells = f"{one.strength:<10g}{_cell(one.ips, one.ips_interval)}{_cell(one.snips, one.snips_interval)}"
                weak = one.effective < _FEW or (one.unsupported or 0.0) > 0.25
                note = "  weak" if weak else ""
                lines.append(f"{cells}{one.effective:<11.0f}{one.unsupported or 0.0:.0%}{note}")
            if any(one.strength > self.strongest for one in self.estimates):
                lines.append(
                    f"Above {self.strongest:g}, the strongest logged, documents that only a stronger query finds"
                )
                lines.append("were no candidates; the estimate is without them.")
        if first.fixed:
            if not first.ratings:
                lines += [
                    "Nothing was drawn (explore=0): what was not shown had no chance to be rated. There is no valid",
                    "estimate of another strength.",
                ]
            shadow = f", {self.shadow} of them in shadow mode (strength 0 was shown)" if self.shadow else ""
            earned = _bare(first.fixed_reward)
            lines += [
                f"Not drawn, {first.fixed} ratings{shadow}.",
                f"What was shown earned {earned} on all of them.",
                f"{'strength':<10}{'where it shows the same':<25}{'where not':<13}{'coverage':<11}documents in common",
            ]
            for one in self.estimates:
                means = f"{_bare(one.replay):<25}{_bare(one.disagreed):<13}"
                lines.append(f"{one.strength:<10g}{means}{one.coverage or 0.0:<11.0%}{one.agreement or 0.0:.0%}")
            lines += [
                "Both means are of what was shown. The rows are not comparable: each is over other retrievals, and on",
                "what both show the ranking that was shown earned just the same. What a strength would have earned",
                "elsewhere is not known; only exploration (explore > 0) gives an estimate.",
            ]
        return "\n".join(lines)


def _bare(value: float | None) -> str:
    """A number without an interval, for what must not be compared."""
    return "–" if value is None else f"{value:+.3f}"


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    """A number with its interval, in 26 columns."""
    if value is None:
        return f"{'–':<26}"
    text = f"{value:+.3f}" + ("" if interval is None else f" [{interval[0]:+.3f}, {interval[1]:+.3f}]")
    return f"{text:<26}"
