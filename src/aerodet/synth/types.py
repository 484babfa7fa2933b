"""Aircraft types: what a table of published sizes and layouts says of each, with RarePlanes' attributes."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

__all__ = ["FLEETS", "TYPES", "AircraftType"]

FLEETS = ("light", "business", "fighter", "regional", "narrow", "wide", "military")
_CIVIL = {"light": "Small Civil Transport/Utility", "business": "Small Civil Transport/Utility"}
_FAA = (15.0, 24.0, 36.0, 52.0, 65.0)  # metres: upper ends of FAA's wingspan classes I to V (AC 150/5300-13)


@dataclass(frozen=True, slots=True)
class AircraftType:
    """One aircraft type; lengths in metres.

    Attributes:
        name: common designation.
        fleet: one of :data:`FLEETS`, which decides where it parks.
        length: nose to tail.
        span: wing tip to wing tip.
        width: of the fuselage.
        sweep: of the wing's leading edge, degrees.
        chords: of the wing at the root and at the tip.
        station: where the wing root begins, as a share of the length from the nose.
        engines: their places on the wing as shares of the half span; () when they sit elsewhere.
        traits: any of "propellers", "high" (wing on top of the fuselage), "t-tail", "nose" (a propeller at the nose),
            "twin-fin", "canard", "delta" (no tailplane), "inside" (engines in the fuselage), "single" (one of them),
            "tri" (a third engine at the tail) and "trainer", "bomber", "fighter" (roles).
    """

    name: str
    fleet: str
    length: float
    span: float
    width: float
    sweep: float
    chords: tuple[float, float]
    station: float
    engines: tuple[float, ...] = (0.33,)
    traits: tuple[str, ...] = ()

    @property
    def num_engines(self) -> int:
        """Engines in all."""
        if "nose" in self.traits or "single" in self.traits:
            return 1
        pod = 2 if "bomber" in self.traits else 1  # the B-52 carries its engines two by two
        return 2 * pod * max(1, len(self.engines)) + ("tri" in self.traits)

    @property
    def role(self) -> str:
        """RarePlanes' role."""
        for trait, role in (("trainer", "Military Trainer"), ("bomber", "Military Bomber")):
            if trait in self.traits:
                return role
        if self.fleet == "fighter":
            return "Military Fighter/Interceptor/Attack"
        if self.fleet == "military":
            return "Military Transport/Utility/AWAC"
        if self.fleet in _CIVIL:
            return _CIVIL[self.fleet]
        return "Large Civil Transport/Utility" if self.fleet == "wide" else "Medium Civil Transport/Utility"

    @property
    def wing_type(self) -> str:
        """RarePlanes' wing type: ``delta``, ``swept`` or ``straight``."""
        return "delta" if "delta" in self.traits else "swept" if self.sweep > 15 else "straight"

    def attributes(self) -> dict[str, str | int | float]:
        """Return RarePlanes' attributes of this type; lengths in metres."""
        propeller = "propellers" in self.traits or "nose" in self.traits
        return {
            "type": self.name,
            "role": self.role,
            "num_engines": self.num_engines,
            "propulsion": "propeller" if propeller else "jet",
            "canards": "yes" if "canard" in self.traits else "no",
            "num_tail_fins": 2 if "twin-fin" in self.traits else 1,
            "wing_position": "high mounted" if "high" in self.traits else "mid/low mounted",
            "wing_type": self.wing_type,
            "faa_wingspan_class": bisect_left(_FAA, self.span) + 1,
            "length": self.length,
            "wingspan": self.span,
        }


# Length and span as the makers publish them, metres; chords, sweep and stations are approximate.
_PROP, _PROP_LOW, _T, _HIGH_T = ("propellers", "high"), ("propellers",), ("t-tail",), ("high", "t-tail")
_NOSE, _NOSE_HIGH, _JETS, _JET = ("nose",), ("nose", "high"), ("inside",), ("inside", "single")
TYPES: dict[str, AircraftType] = {
    t.name: t
    for t in (
        AircraftType("C172", "light", 8.3, 11.0, 1.1, 2, (1.63, 1.12), 0.24, (), _NOSE_HIGH),
        AircraftType("PA-28", "light", 7.3, 10.8, 1.15, 2, (1.6, 1.1), 0.27, (), _NOSE),
        AircraftType("SR22", "light", 7.9, 11.7, 1.25, 2, (1.55, 0.9), 0.28, (), _NOSE),
        AircraftType("Beech 58", "light", 9.1, 11.5, 1.3, 4, (2.1, 0.9), 0.27, (0.30,), _PROP_LOW),
        AircraftType("DA42", "light", 8.6, 13.6, 1.3, 4, (1.5, 0.8), 0.30, (0.26,), (*_PROP_LOW, *_T)),
        AircraftType("C208", "light", 11.5, 15.9, 1.6, 2, (2.0, 1.2), 0.27, (), _NOSE_HIGH),
        AircraftType("King Air 350", "business", 14.2, 17.7, 1.6, 4, (2.4, 0.9), 0.29, (0.28,), (*_PROP_LOW, *_T)),
        AircraftType("PC-12", "business", 14.4, 16.3, 1.7, 3, (2.1, 1.0), 0.30, (), (*_NOSE, *_T)),
        AircraftType("Citation CJ3", "business", 15.6, 16.3, 1.6, 5, (2.4, 0.9), 0.42, (), _T),
        AircraftType("Learjet 45", "business", 17.6, 14.6, 1.7, 17, (2.9, 1.1), 0.45, (), _T),
        AircraftType("Falcon 7X", "business", 23.4, 26.2, 2.5, 34, (5.0, 1.2), 0.38, (), ("tri",)),
        AircraftType("Global 6000", "business", 30.3, 28.7, 2.7, 33, (5.6, 1.4), 0.42, (), _T),
        AircraftType("T-6A", "fighter", 10.2, 10.2, 1.2, 5, (2.2, 1.2), 0.30, (), (*_NOSE, "trainer")),
        AircraftType("Hawk T1", "fighter", 11.9, 9.4, 1.6, 26, (2.8, 1.0), 0.42, (), (*_JET, "trainer")),
        AircraftType("F-16C", "fighter", 15.0, 9.8, 1.7, 40, (5.0, 1.1), 0.40, (), _JET),
        AircraftType("F/A-18C", "fighter", 17.1, 11.4, 2.0, 27, (4.9, 1.7), 0.42, (), (*_JETS, "twin-fin")),
        AircraftType("F-15C", "fighter", 19.4, 13.1, 2.8, 45, (6.2, 1.6), 0.40, (), (*_JETS, "twin-fin", "high")),
        AircraftType("MiG-29", "fighter", 17.3, 11.4, 2.4, 42, (5.6, 1.3), 0.40, (), (*_JETS, "twin-fin")),
        AircraftType("Mirage 2000", "fighter", 14.4, 9.1, 1.7, 58, (7.0, 0.7), 0.42, (), (*_JET, "delta")),
        AircraftType("Typhoon", "fighter", 16.0, 11.0, 2.0, 53, (7.4, 0.9), 0.42, (), (*_JETS, "delta", "canard")),
        AircraftType("CRJ200", "regional", 26.8, 21.2, 2.7, 27, (4.6, 1.4), 0.42, (), _T),
        AircraftType("ERJ145", "regional", 29.9, 20.0, 2.3, 25, (4.4, 1.1), 0.46, (), _T),
        AircraftType("Gulfstream V", "regional", 29.4, 28.5, 2.4, 30, (5.2, 1.7), 0.40, (), _T),
        AircraftType("ATR 72", "regional", 27.2, 27.1, 2.9, 3, (2.6, 1.6), 0.40, (0.30,), (*_PROP, *_T)),
        AircraftType("Dash 8-400", "regional", 32.8, 28.4, 2.7, 4, (2.9, 1.4), 0.42, (0.31,), (*_PROP, *_T)),
        AircraftType("E190", "regional", 36.2, 28.7, 3.0, 27, (5.6, 1.5), 0.36, (0.32,)),
        AircraftType("A319", "narrow", 33.8, 35.8, 4.0, 28, (6.6, 1.6), 0.32, (0.34,)),
        AircraftType("A320", "narrow", 37.6, 35.8, 4.0, 28, (6.6, 1.6), 0.34, (0.34,)),
        AircraftType("A321", "narrow", 44.5, 35.8, 4.0, 28, (6.8, 1.6), 0.36, (0.34,)),
        AircraftType("737-800", "narrow", 39.5, 35.8, 3.8, 28, (7.2, 1.6), 0.33, (0.28,)),
        AircraftType("MD-83", "narrow", 45.0, 32.8, 3.4, 27, (6.6, 1.3), 0.44, (), _T),
        AircraftType("757-200", "narrow", 47.3, 38.0, 3.8, 29, (8.0, 1.8), 0.34, (0.34,)),
        AircraftType("767-300", "wide", 54.9, 47.6, 5.0, 34, (10.2, 2.3), 0.32, (0.33,)),
        AircraftType("MD-11", "wide", 61.6, 51.7, 6.0, 37, (11.0, 2.6), 0.34, (0.34,), ("tri",)),
        AircraftType("A330-300", "wide", 63.7, 60.3, 5.6, 33, (11.2, 2.4), 0.33, (0.31,)),
        AircraftType("A340-300", "wide", 63.7, 60.3, 5.6, 33, (11.2, 2.4), 0.33, (0.31, 0.64)),
        AircraftType("787-9", "wide", 62.8, 60.1, 5.8, 35, (11.6, 1.8), 0.33, (0.32,)),
        AircraftType("777-300ER", "wide", 73.9, 64.8, 6.2, 34, (13.6, 2.2), 0.35, (0.31,)),
        AircraftType("747-400", "wide", 70.7, 64.4, 6.5, 41, (14.4, 3.4), 0.26, (0.36, 0.65)),
        AircraftType("A380-800", "wide", 72.7, 79.8, 7.1, 37, (17.6, 3.6), 0.26, (0.37, 0.65)),
        AircraftType("C-130H", "military", 29.8, 40.4, 4.3, 2, (4.9, 2.6), 0.33, (0.26, 0.51), _PROP),
        AircraftType("P-3C", "military", 35.6, 30.4, 3.5, 3, (5.6, 2.3), 0.33, (0.28, 0.56), _PROP_LOW),
        AircraftType("KC-135R", "military", 41.5, 39.9, 3.8, 38, (9.0, 2.8), 0.28, (0.34, 0.60)),
        AircraftType("B-52H", "military", 48.5, 56.4, 3.6, 37, (9.4, 3.7), 0.30, (0.36, 0.65), ("high", "bomber")),
        AircraftType("Il-76", "military", 46.6, 50.5, 4.8, 28, (8.8, 3.0), 0.34, (0.27, 0.44), _HIGH_T),
        AircraftType("C-17A", "military", 53.0, 51.8, 6.8, 29, (10.4, 3.2), 0.33, (0.30, 0.54), _HIGH_T),
    )
}
