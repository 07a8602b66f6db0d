"""The decision: constraints first, then the best of what meets them, as far as the measurements can tell.

No winner is named where intervals overlap: the next criterion decides, and where none tells, the answer is "unsure",
with the measurement that would tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from workbench.core.units import size_text
from workbench.lab.decision.constraints import Constraint, Constraints, State, aspect_text
from workbench.lab.decision.contender import Aspect, Contender, DecisionAnswer, Figure, Need, NeedKind, Prefer
from workbench.lab.decision.estimate import with_estimates
from workbench.lab.decision.evidence import Evidence

EQUAL_SPEED = 1.1
"""Two speeds count as equal where their ratio is surely below this."""
EQUAL_KLD = 0.5
"""Two divergences count as equal where they surely differ by less than this share of them."""
LEAST_KLD = 1e-3
"""Divergences up to this are alike."""

_ORDERS: Mapping[str, tuple[str, ...]] = {
    "quality": ("quality", "speed", "size"),
    "speed": ("speed", "quality", "size"),
    "size": ("size", "quality", "speed"),
}
_ASPECTS: Mapping[str, Aspect] = {"quality": "kld", "speed": "speed"}
_KINDS: Mapping[Aspect, NeedKind] = {"speed": "bench", "kld": "quality", "passes": "eval"}
_PLOTTED: tuple[Aspect, ...] = ("speed", "kld")
_NAMES: Mapping[Aspect, str] = {"speed": "speed", "kld": "divergence", "passes": "pass rate"}


def preference(constraints: Constraints, prefer: Prefer) -> Prefer:
    """What the best is. Speed where only quality is limited; otherwise the limits bound speed, and quality is left."""
    if prefer != "auto":
        return prefer
    bounds_quality = constraints.max_kld is not None or constraints.min_pass is not None
    bounds_means = any(each.aspect in ("speed", "memory", "context") for each in constraints.items)
    return "speed" if bounds_quality and not bounds_means else "quality"


def decide(evidence: Evidence, constraints: Constraints, prefer: Prefer = "auto") -> DecisionAnswer:
    """The answer to what the user needs."""
    return _Decision(evidence, constraints, preference(constraints, prefer)).answer()


class _Decision:
    def __init__(self, evidence: Evidence, constraints: Constraints, prefer: Prefer) -> None:
        self._evidence = evidence
        self._limits = constraints.items
        self._prefer: Prefer = prefer
        self._all = with_estimates(evidence.contenders)
        self._states: dict[str, list[State]] = {
            each.key: [limit.state(each) for limit in self._limits] for each in self._all
        }

    def answer(self) -> DecisionAnswer:
        possible = [each for each in self._all if "failed" not in self._states[each.key]]
        if not any(each.is_measured for each in self._all):
            return self._nothing(possible)
        if not possible:
            return self._none()
        sure = [each for each in possible if self._is_sure(each)]
        if not sure:
            return self._unsure(possible, None)
        best, tied, close = self._best(sure)
        blockers = [each for each in possible if each not in sure and each.is_measured and self._may_beat(each, best)]
        if blockers:
            return self._unsure(blockers, best)
        alone = len(sure) == 1 and not any(each.is_measured for each in self._all if each is not best)
        others = [each for each in possible if each is not best and not each.is_measured]
        if alone and others:
            return self._unsure(others, best)
        if tied:
            return self._tie(best, tied)
        return self._choice(best, close)

    def _is_sure(self, contender: Contender) -> bool:
        aspect = _ASPECTS.get(self._prefer)
        known = contender.is_measured if aspect is None else contender.figure(aspect) is not None
        return known and all(state == "met" for state in self._states[contender.key])

    # The best

    def _better(self, a: Contender, b: Contender, criterion: str) -> int | None:
        """1 where A is surely better, -1 where B is, 0 where nobody can tell, None where a figure is unknown."""
        if criterion == "size":
            mine, other = _size(a), _size(b)
            return (mine < other) - (mine > other)
        gap = (self._evidence.kld_gap if criterion == "quality" else self._evidence.speed_gap)(a, b)
        if gap is None:
            return None
        return gap.sign if criterion == "quality" else -gap.sign

    @staticmethod
    def _value(contender: Contender, criterion: str) -> float:
        """A figure of which the smallest is the best."""
        if criterion == "size":
            return _size(contender)
        found = contender.figure(_ASPECTS[criterion])
        return 0.0 if found is None else -found.value if criterion == "speed" else found.value

    def _best(self, sure: Sequence[Contender]) -> tuple[Contender, list[Contender], list[Contender]]:
        """The best; those of which more has to be known; those that are as good by the first criterion."""
        left, told, first = list(sure), list(sure), list[Contender]()
        for criterion in _ORDERS[self._prefer]:
            if any(self._better(left[0], each, criterion) is None for each in left[1:]):
                continue
            leader = min(left, key=lambda each: self._value(each, criterion))
            left = [each for each in left if each is leader or self._better(leader, each, criterion) != 1]
            if criterion == self._prefer:
                first = left
            if criterion != "size" or self._prefer == "size":
                told = left
            if len(left) == 1:
                break
        best = min(left, key=lambda each: (_size(each), len(each.own_options)))
        others = [each for each in first if each is not best]
        open_ones = [each for each in others if not self._is_equal(best, each)]
        open_ones += [each for each in told if each is not best and not self._is_settled(best, each)]
        tied = list({each.key: each for each in open_ones}.values())
        return best, tied, [each for each in others if each not in tied]

    def _is_settled(self, a: Contender, b: Contender) -> bool:
        """Whether more timing would not tell two apart: enough pairs showed no difference, or none can be run."""
        gap = self._evidence.speed_gap(a, b)
        return not pairable(a, b) or (gap is not None and gap.settled)

    def _is_equal(self, a: Contender, b: Contender) -> bool:
        """Whether two that cannot be told apart by the first criterion differ little by it, if they do."""
        if self._prefer == "quality":
            gap, kld = self._evidence.kld_gap(a, b), a.figure("kld")
            return gap is None or kld is None or max(map(abs, gap.interval)) <= EQUAL_KLD * max(kld.value, LEAST_KLD)
        if self._prefer == "speed":
            gap = self._evidence.speed_gap(a, b)
            return gap is None or gap.settled or (gap.interval[0] >= 1 / EQUAL_SPEED and gap.interval[1] <= EQUAL_SPEED)
        return True

    def _may_beat(self, contender: Contender, best: Contender) -> bool:
        """Whether a contender of which not enough is known could be better than the best so far."""
        if self._prefer == "size":
            return _size(contender) < _size(best)
        aspect = _ASPECTS[self._prefer]
        if contender.figure(aspect) is not None:
            return self._better(best, contender, self._prefer) != 1
        estimate, value = getattr(contender, aspect), best.figure(aspect)
        if estimate is None or value is None:
            return True
        return bool(estimate.low < value.value if aspect == "kld" else estimate.high > value.value)

    # Answers

    def _nothing(self, possible: Sequence[Contender]) -> DecisionAnswer:
        if not possible:
            return replace(self._none(), verdict="none")
        keys = tuple(each.key for each in possible)
        text = f"Nothing of {self._evidence.model} is measured on this machine yet: bench it first."
        return DecisionAnswer("nothing", text, need=Need("bench", keys), prefer=self._prefer)

    def _none(self) -> DecisionAnswer:
        """Which constraint is the hardest, and by how much it is missed."""

        def misses(each: Contender) -> list[tuple[Constraint, float]]:
            states = zip(self._limits, self._states[each.key], strict=True)
            return [(limit, limit.shortfall(each)) for limit, state in states if state == "failed"]

        nearest = min(self._all, key=lambda each: (len(misses(each)), sum(size for _, size in misses(each))))
        missed = misses(nearest)
        hardest, short = max(missed, key=lambda each: each[1])
        count = sum(self._states[each.key][self._limits.index(hardest)] == "failed" for each in self._all)
        figure = hardest.figure(nearest)
        guess = "an estimated " if figure is not None and figure.estimated else ""
        has = "" if figure is None else f" with {guess}{aspect_text(hardest.aspect, figure.value)}"
        others = [limit.text for limit, _ in missed if limit is not hardest]
        what = f"Nothing meets {hardest.text}:"
        if count < len(self._all):
            what = f"Nothing meets all of this. The hardest is {hardest.text}: {count} of {len(self._all)} miss it,"
        amount = f"{100 * short:.0f} % too {'little' if hardest.at_least else 'much'}"
        also = f" It also misses {' and '.join(others)}." if others else ""
        sentence = f"{what} {nearest.label} comes nearest{has}, {amount}.{also}"
        return DecisionAnswer("none", sentence, rival=nearest.key, prefer=self._prefer)

    def _unsure(self, open_ones: Sequence[Contender], best: Contender | None) -> DecisionAnswer:
        """What is not known of contenders that could be the best."""

        def answer(why: str, need: Need | None = None) -> DecisionAnswer:
            so_far = "" if best is None else f" Until then {self._described(best)}."
            chosen = "" if best is None else best.key
            return DecisionAnswer("unsure", f"Unsure: {why}.{so_far}", chosen, need=need, prefer=self._prefer)

        wanted: list[Aspect] = [aspect for aspect in _KINDS if any(each.aspect == aspect for each in self._limits)]
        objective = _ASPECTS.get(self._prefer, "speed")
        for name in dict.fromkeys([*wanted, objective]):
            lacking = [each for each in open_ones if each.figure(name) is None]
            if lacking:
                names = ", ".join(each.label for each in lacking)
                keys = tuple(each.key for each in lacking)
                return answer(f"the {_NAMES[name]} of {names} is not measured", Need(_KINDS[name], keys))
        for each in open_ones:
            for limit, state in zip(self._limits, self._states[each.key], strict=True):
                figure = limit.figure(each)
                if figure is None:
                    return answer(f"the {limit.aspect} of {each.label} cannot be estimated")
                if state == "unsure":
                    why = f"{each.label} may meet {limit.text}, it has {_span(limit.aspect, figure)}"
                    if limit.aspect == "passes":
                        return answer(f"{why}; more prompts would tell")
                    return answer(why, Need("bench" if limit.aspect == "speed" else "quality", (each.key,)))
        return answer("the measurements do not tell")

    def _tie(self, best: Contender, tied: Sequence[Contender]) -> DecisionAnswer:
        names = _listed([best.label, *(each.label for each in tied)])
        other = min(tied, key=lambda each: self._value(each, self._prefer))
        if self._value(other, self._prefer) < self._value(best, self._prefer) and not self._is_equal(best, other):
            # What leads by the first criterion, though not surely, is the better guess.
            best, other = other, best
        sentence = f"Unsure: {names} cannot be told apart by what is measured. Until then {self._described(best)}."
        kind: NeedKind = "pairs" if pairable(best, other) else "bench"
        if self._prefer == "quality" and not self._is_equal(best, other):
            kind = "quality"
        return DecisionAnswer("unsure", sentence, best.key, other.key, Need(kind, (best.key, other.key)), self._prefer)

    def _choice(self, best: Contender, close: Sequence[Contender]) -> DecisionAnswer:
        rival, clause = self._rival(best)
        need = None
        if close and (aspect := _ASPECTS.get(self._prefer)):
            names = _listed([each.label for each in close])
            clause += f"; no sure difference in {_NAMES[aspect]} from {names}"
        possible = [each for each in self._all if "failed" not in self._states[each.key]]
        for name in _PLOTTED:
            lacking = tuple(each.key for each in possible if each.figure(name) is None)
            if need is None and lacking and (name == "speed" or len(possible) > 1):
                need = Need(_KINDS[name], lacking)
        return DecisionAnswer("choice", f"{self._described(best)}{clause}.", best.key, rival, need, self._prefer)

    def _described(self, contender: Contender) -> str:
        """A contender with its figures: `Q5_K_M q8_0 K: 41 tokens/s, 5.1 GiB, KLD 0.011`."""
        parts = [] if (speed := contender.figure("speed")) is None else [aspect_text("speed", speed.value)]
        memory = contender.memory_bytes
        parts.append(size_text(contender.file_bytes) if memory is None else aspect_text("memory", memory))
        if (kld := contender.figure("kld")) is not None:
            parts.append("the reference" if contender.is_reference else aspect_text("kld", kld.value))
        if contender.judged:
            parts.append(f"{contender.passed} of {contender.judged} prompts")
        return f"{contender.label}: {', '.join(parts)}"

    def _rival(self, best: Contender) -> tuple[str, str]:
        """What the user gives up with the best: its key, and a clause."""
        criterion = "quality" if self._prefer == "speed" else "speed"
        others = [each for each in self._all if each is not best and self._better(each, best, criterion) == 1]
        if not others:
            return "", ""
        meeting = [each for each in others if "failed" not in self._states[each.key]] or others
        # Of those with the advantage, the one that costs least.
        cost = "speed" if criterion == "quality" else "quality"
        known = [each for each in meeting if each.figure(_ASPECTS[cost]) is not None] or meeting
        rival = min(known, key=lambda each: self._value(each, cost))
        name = f"{rival.label}, the reference," if rival.is_reference else rival.label
        return rival.key, f"; {name} {' and '.join(self._differences(best, rival))}"

    def _differences(self, best: Contender, rival: Contender) -> list[str]:
        """What is sure of the rival beside the best, as verbs."""
        parts = []
        speed, kld = self._evidence.speed_gap(best, rival), self._evidence.kld_gap(best, rival)
        if speed is not None and speed.sign:
            change = 100 * (speed.value - 1)
            parts.append(f"is {abs(change):.0f} % {'faster' if change > 0 else 'slower'}")
        if kld is not None and (figure := rival.figure("kld")) is not None and not (rival.is_reference and parts):
            unsure = "" if kld.sign else ", which is no sure difference"
            parts.append(f"has {aspect_text('kld', figure.value)}{unsure}")
        split = self._evidence.split(best, rival)
        if split is not None:
            parts.append(_prompts_text(split.only_a, split.only_b, split.cases, sure=split.verdict in ("a", "b")))
        missed = [
            limit.text for limit, state in zip(self._limits, self._states[rival.key], strict=True) if state == "failed"
        ]
        return parts + ([f"misses {' and '.join(missed)}"] if missed else [])


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _prompts_text(only_best: int, only_rival: int, cases: int, *, sure: bool) -> str:
    """What the rival does to the user's prompts."""
    if not only_best and not only_rival:
        return f"passes the same of your {cases} prompts"
    words = [f"loses {only_best}"] * bool(only_best) + [f"gains {only_rival}"] * bool(only_rival)
    chance = "" if sure else ", which may be chance"
    return f"{' and '.join(words)} of your {cases} prompts{chance}"


def _span(aspect: str, figure: Figure) -> str:
    value = aspect_text(aspect, figure.value)
    if figure.interval is None:
        return f"{value} from a single repetition"
    scale = 100 if aspect == "passes" else 1
    return f"{value}, 95 % interval {scale * figure.interval[0]:.3g} to {scale * figure.interval[1]:.3g}"


def _size(contender: Contender) -> float:
    """Bytes of memory where they are known for certain, else of the file; the types of the cache count."""
    return float(contender.memory_bytes or contender.file_bytes)


def pairable(a: Contender, b: Contender) -> bool:
    """Whether one run of the bench can compare two in pairs: two files, or one option with two values."""
    if a.path != b.path:
        return a.settings == b.settings
    mine, theirs = dict(a.own_options), dict(b.own_options)
    names = {*mine, *theirs}
    return sum(mine.get(name) != theirs.get(name) for name in names) == 1
