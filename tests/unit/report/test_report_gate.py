from aerodet.report import GateRule, GateSummary

GATE = {
    "passed": True,
    "rules": [{"name": "speed", "verdict": "passed", "sentence": "2 times", "figures": {"ratio": 2}}],
}


def test_what_was_published_and_why_is_one_sentence():
    version = {"published": True, "version": 3, "stage": "champion", "remark": "it passed the gate"}
    found = GateSummary.from_dicts(GATE, version)
    assert found.rules == (GateRule("speed", "passed", "2 times"),)
    assert found.outcome == "Published as version 3, champion: it passed the gate."


def test_what_was_not_published_says_so():
    found = GateSummary.from_dicts(GATE, {"published": False, "reason": "the export has no engine"})
    assert found.outcome == "Not published: the export has no engine."
