"""Goal: every view says what the tree said, escapes what the database holds, and lets in who may see it.

Method: a real uvicorn over a scripted plant, real HTTP; pages are read as text and by a parser of HTML.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from actors.alarm.lifecycle import AlarmState
from actors.safety.latch import LatchSet
from actors.safety.rules import RULES
from actors.vocabulary import ControlSettings, Reason, Rule, Settings, Severity
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.audit_trail import AuditPage, AuditQuery, AuditWindow
from actors.vocabulary.limits import LIMIT_KEYS
from actors.vocabulary.settings import DatabaseSettings
from api.access.cookies import Cookies
from api.dashboard import files, rendering, texts
from api.dashboard.settings_shown import WHOLE, sections
from storage.masking import masked
from supervisors.restart_types import ChildState
from tests.browser.plant import NORTH, SOUTH, Plant, Trends, endpoint
from tests.browser.watching import Watched
from tests.unit.api.served import Answer, until

VIEWS = (
    "/", "/stations/harbour", "/pumps/p1", "/stops", "/alarms", "/tree", "/limits", "/limits/p1", "/audit", "/users",
    "/configuration", "/account",
)  # fmt: skip
HOSTILE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'{{7*7}}"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(Plant(), tmp_path_factory.mktemp("api"), trends=Trends()) as running:
        yield running


def look(watched: Watched, path: str, role: UserRole = UserRole.ADMINISTRATOR, **headers: str) -> Answer:
    user = f"user-{role.value.lower()}"
    cookie = watched.token(watched.session(user, role))
    sent = {
        "Accept": "text/html",
        "Cookie": f"{Cookies.of(watched.api.settings.api).name}={cookie}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return watched.api.get(path, token="", headers=sent)


class Parts(HTMLParser):
    """What could run, and what is loaded from where."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.styled: list[str] = []
        self.events: list[str] = []
        self.addresses: list[str] = []
        self.forms: list[tuple[str | None, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        if tag == "script":
            self.scripts.append(held)
        if tag == "form":
            self.forms.append((held.get("method"), held.get("action")))
        if tag == "style" or "style" in held:
            self.styled.append(tag)
        self.events += [f"{tag}.{name}" for name in held if name.startswith(("on", "hx-on"))]
        self.addresses += [str(held[name]) for name in ("src", "href", "action", "hx-get") if name in held]


def parts_of(answer: Answer) -> Parts:
    parser = Parts()
    parser.feed(answer.raw.decode())
    return parser


@pytest.mark.parametrize("path", VIEWS)
def test_each_view_runs_and_loads_our_files_only(watched: Watched, path: str) -> None:
    """HMI-1: works offline: no outside asset, no inline script or style, whole and as its live part."""
    for live in (False, True):
        answer = look(watched, path, HX_Request="true" if live else "false")
        assert answer.status == 200, answer.raw
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        found = parts_of(answer)
        assert found.styled == []
        assert found.events == []
        assert all(str(script.get("src")).startswith("/static/") for script in found.scripts)
        assert [each for each in found.addresses if not each.startswith(("/", "#"))] == []
        assert ("<html" in answer.raw.decode()) is not live, "the live part is no page"


def test_no_form_can_put_a_secret_into_an_address(watched: Watched) -> None:
    """SEC-1: where scripts do not run, a form is posted and refused; only a search may stand in an address."""
    found = [form for path in (*VIEWS, "/login") for form in parts_of(look(watched, path)).forms]
    assert len(found) > 10
    assert set(found) == {("post", None), ("get", "/audit")}


ROLES = {
    "/users": {UserRole.ADMINISTRATOR},
    "/configuration": {UserRole.ENGINEER, UserRole.ADMINISTRATOR},
    "/account": set(UserRole),
}


@pytest.mark.parametrize("role", list(UserRole))
def test_each_view_lets_in_who_may_read_it(watched: Watched, role: UserRole) -> None:
    """SEC-2: the same table as for REST."""
    for path in VIEWS:
        expected = role in ROLES.get(path, set(UserRole) - {UserRole.FIELD})
        assert look(watched, path, role).status == (200 if expected else 403), (path, role)


@pytest.mark.parametrize("path", ["/stations/none", "/pumps/none", "/limits/none", "/stops/none/shown"])
def test_what_is_not_there_is_said_to_be_unknown(watched: Watched, path: str) -> None:
    """HMI-2: a page for people, a problem for scripts."""
    answer = look(watched, path)
    assert answer.status == 404
    assert "text/html" in answer.headers["content-type"]
    look(watched, path, Accept="application/json").problem(404)


def test_names_from_the_database_are_shown_as_they_stand(tmp_path: Path) -> None:
    """HMI-1: hostile names, reasons and errors are text in every view."""
    station = msgspec.structs.replace(NORTH.stations[0], name=HOSTILE, level_datum=HOSTILE)
    pumps = tuple(msgspec.structs.replace(pump, name=HOSTILE) for pump in station.pumps)
    site = msgspec.structs.replace(
        NORTH, name=HOSTILE, stations=(msgspec.structs.replace(station, pumps=pumps),)
    )
    plant = Plant(site)
    plant.alarm(HOSTILE, HOSTILE, Severity.HIGH, HOSTILE)
    first = plant.nodes["/storage"]
    plant.nodes["/storage"] = msgspec.structs.replace(first, last_error=HOSTILE, state=HOSTILE)
    with Watched(plant, tmp_path, trends=Trends()) as watched:
        stop = {"scope": "PUMP", "scope_id": "p1", "reason": HOSTILE}
        assert watched.api.post("/api/v1/emergency-stops", stop).status == 201
        shown = 0
        for path in VIEWS:
            page = look(watched, path).raw.decode()
            assert "<script>window" not in page, path
            assert "<img" not in page, path
            assert "49" not in re.findall(r"&#39;(\d+)", page), path
            shown += "&lt;script&gt;window.pwned=1&lt;/script&gt;" in page
        assert shown >= 7


def test_abnormal_stations_come_first_and_normal_ones_have_no_colour(tmp_path: Path) -> None:
    """HMI-1: grey while all is well; what is wrong stands first."""
    plant = Plant()
    with Watched(plant, tmp_path) as watched:
        calm = look(watched, "/").raw.decode()
        assert re.findall(r"station-card r(\d)", calm) == ["0", "0", "0"]
        plant.failsafe.add("p7")
        until(lambda: re.findall(r"station-card r(\d)", look(watched, "/").raw.decode()) == ["3", "0", "0"])
        page = look(watched, "/").raw.decode()
        assert page.index("Hilltop") < page.index("Harbour"), "its site first"


def test_a_dead_endpoint_and_a_silent_safety_are_said(tmp_path: Path) -> None:
    """HMI-1: what does not answer is shown to be silent, and the rest is shown."""
    plant = Plant()
    plant.dead |= {endpoint("north", "opcua"), "/sites/north/stations/mill/safety"}
    with Watched(plant, tmp_path) as watched:
        page = look(watched, "/").raw.decode()
        assert "opcua: dead" in page
        assert "Does not answer:" in page
        assert "Harbour 1" in page


def test_values_that_are_not_good_do_not_look_good(tmp_path: Path) -> None:
    """CTL-4, HMI-1: quality and age stand beside a value, and it is struck through."""
    plant = Plant()
    plant.bad_levels.add("harbour")
    with Watched(plant, tmp_path) as watched:
        page = look(watched, "/stations/harbour").raw.decode()
        assert 'class="value q-BAD"' in page
        assert "is-old" in page
        assert "not written for 95 s" in page


def test_without_its_root_and_alarms_a_view_says_so(tmp_path: Path) -> None:
    """HMI-2: parts that are down leave the rest of a view."""
    plant = Plant()
    plant.dead |= {"/", "/platform/alarm"}
    with Watched(plant, tmp_path) as watched:
        assert "The tree does not answer" in look(watched, "/tree").raw.decode()
        assert "Alarms are not known" in look(watched, "/").raw.decode()


@pytest.mark.parametrize("path", ["/", "/stations/harbour", "/pumps/p1", "/stops", "/alarms", "/tree"])
def test_an_unreadable_latch_folder_leaves_every_view_its_stop(tmp_path: Path, path: str) -> None:
    """EST-4, HMI-2: what is known of stops is shown, with why it may be incomplete; the stop's button is there."""
    with Watched(Plant(), tmp_path) as watched:
        stop = {"scope": "PUMP", "scope_id": "p1", "reason": "rag", "by": "bert"}
        assert watched.api.post("/api/v1/emergency-stops", stop).status == 201
        watched.latches.unreadable = True
        answer = look(watched, path)
        page = answer.raw.decode()
        assert answer.status == 200, page
        assert "Stops may be incomplete" in page
        assert "input/output error" in page
        assert 'id="stop-button"' in page
        assert "Emergency stop holds (1)" in page, "what was known stays known"


def test_a_stop_is_seen_on_the_wire_where_the_folder_tells_of_none(tmp_path: Path) -> None:
    """EST-1, HMI-1: the folder cannot be read from the start: the gates' own word marks the pump."""
    plant = Plant()
    with Watched(plant, tmp_path) as watched:
        stop = {"scope": "PUMP", "scope_id": "p1", "reason": "rag", "by": "bert"}
        assert watched.api.post("/api/v1/emergency-stops", stop).status == 201
        watched.down()
        watched.latches.unreadable = True
        watched.up()
        page = look(watched, "/").raw.decode()
        assert "Emergency stop holds" not in page
        ranks = re.findall(r"station-card r(\d)", page)
        assert ranks[0] == "4"
        assert "4" not in ranks[1:]
        assert "Stops may be incomplete" in page


@pytest.mark.parametrize("path", ["/stations/harbour", "/pumps/p1"])
def test_a_plant_that_is_not_known_is_not_said_to_lack_a_part(tmp_path: Path, path: str) -> None:
    """HMI-2: 503 with the reason, not 404, and the stop of everything at hand."""
    plant = Plant()
    plant.topology = None
    with Watched(plant, tmp_path) as watched:
        answer = look(watched, path)
        page = answer.raw.decode()
        assert answer.status == 503, page
        assert "the plant is not known" in page
        assert "Stop everything now" in page
        look(watched, path, Accept="application/json").problem(503)


def test_a_view_that_is_away_or_refused_offers_the_stop_to_whom_may(tmp_path: Path) -> None:
    """EST-4, HMI-2: a page that cannot be shown is no reason to lack the button."""
    with Watched(Plant(), tmp_path) as watched:
        for path, role, status in (
            ("/pumps/none", UserRole.OPERATOR, 404),
            ("/users", UserRole.OPERATOR, 403),
        ):
            answer = look(watched, path, role)
            assert answer.status == status
            assert ('id="stop-button"' in answer.raw.decode()) is (status != 403), path
        rita = look(watched, "/pumps/none", UserRole.READ_ONLY).raw.decode()
        assert 'id="stop-button"' not in rita


def test_before_anything_is_discovered_the_overview_says_so(tmp_path: Path) -> None:
    """HMI-2: no plant is no error, and a stop of everything is there all the same."""
    plant = Plant()
    plant.topology = None
    with Watched(plant, tmp_path) as watched:
        page = look(watched, "/").raw.decode()
        assert "The plant is not known" in page
        assert "Stop everything now" in page


def test_the_ladder_holds_every_step(watched: Watched) -> None:
    """SAF-4: plan, wish, each rule before and after, decision, each endpoint with echo."""
    page = look(watched, "/pumps/p1").raw.decode()
    for text in (
        "plan 17, version 2",
        "Power cap",
        "44.00 → <strong>36.00",
        "On modbus",
        "On opcua",
        "11.0 kW allowed",
    ):
        assert text in page, text


def test_times_are_told_in_the_plants_zone_with_utc(watched: Watched) -> None:
    """HMI-2: the site's zone is shown, UTC is there on hover."""
    page = look(watched, "/").raw.decode()
    found = re.search(
        r'<time datetime="(\S+?)T(\d\d):\S+" title="\S+ (\d\d):\d\d:\d\d UTC">(\d\d):\d\d:\d\d '
        r'<span class="zone">(\w+)<',
        page,
    )
    assert found is not None
    utc, title, local, zone = int(found[2]), int(found[3]), int(found[4]), found[5]
    assert utc == title
    assert zone in {"CET", "CEST"}
    assert (local - utc) % 24 == (1 if zone == "CET" else 2)


def test_of_several_zones_each_row_tells_its_own(tmp_path: Path) -> None:
    """HMI-2: alarms, stops and failsafes of a plant over several zones are told in the zone of where they are."""
    hill = msgspec.structs.replace(SOUTH.stations[0], timezone="America/Lima")
    south = msgspec.structs.replace(SOUTH, timezone="America/Lima", stations=(hill,))
    plant = Plant(NORTH, south)
    for subject in ("p1", "hill", "/sites/south/watchdog", "storage"):
        plant.alarm("failsafe", subject, Severity.HIGH, f"told of {subject}")
    plant.failsafe |= {"p3", "p7"}
    with Watched(plant, tmp_path) as watched:
        for scope, scope_id in (("PUMP", "p6"), ("STATION", "mill"), ("SITE", "south"), ("SYSTEM", "")):
            stop = {"scope": scope, "scope_id": scope_id, "reason": f"stop of {scope}", "by": "bert"}
            assert watched.api.post("/api/v1/emergency-stops", stop).status == 201
        until(lambda: "Emergency stop holds (4)" in look(watched, "/").raw.decode())
        page = look(watched, "/alarms").raw.decode()
        for text, zone in {
            "told of p1": "CET", "told of hill": "-05", "told of /sites/south/watchdog": "-05",
            "told of storage": "UTC",
            'Pump <span class="id">p3<': "CET", 'Pump <span class="id">p7<': "-05",
        }.items():  # fmt: skip
            assert zone_after(page[page.index("<main") :], text) == zone, text
        page = look(watched, "/stops").raw.decode()
        for text, zone in {
            "stop of PUMP": "-05", "stop of STATION": "CET", "stop of SITE": "-05", "stop of SYSTEM": "UTC",
        }.items():  # fmt: skip
            assert zone_after(page, text) == zone, text


def zone_after(page: str, text: str) -> str:
    """Return the zone of the first time that is told after a text."""
    found = re.search(r'<span class="zone">([^<]+)<', page[page.index(text) :])
    assert found is not None
    return found[1]


def test_lists_that_are_cut_say_so(tmp_path: Path) -> None:
    """HMI-1: who sees two hundred rows knows how many there are beside; what still runs under a stop comes first."""
    station = NORTH.stations[0]
    many = tuple(
        msgspec.structs.replace(station.pumps[0], pump_id=f"x{at:03}", name=f"X {at}", wire_slot=at)
        for at in range(102)
    )
    plant = Plant(msgspec.structs.replace(NORTH, stations=(msgspec.structs.replace(station, pumps=many),)))
    for at in range(303):
        plant.alarm("failsafe", f"x{at:03}", Severity.LOW, "low")
    with Watched(plant, tmp_path) as watched:
        stop = {"scope": "SITE", "scope_id": "north", "reason": "flood", "by": "bert"}
        made = watched.api.post("/api/v1/emergency-stops", stop).json()
        plant.stops[endpoint("north", "opcua")] = LatchSet()
        page = look(watched, f"/stops/{made['stop_id']}/shown").raw.decode()
        table = page[page.index("What the pumps do") :]
        assert table.count("<tr><th") == 1 + 200
        assert "… and 4 more." in table
        endpoints = re.findall(r'<th scope="row">x\d+</th><td>(\w+)</td>', table)
        assert endpoints[:102] == ["opcua"] * 102, "where nothing stops them"
        assert "… and 3 more." in look(watched, "/alarms").raw.decode()


def test_settings_are_shown_without_secrets_and_with_what_is_not_usual(tmp_path: Path) -> None:
    """CFG-1, SEC-3, HMI-2: every setting by section; what differs from its default stands out, no secret does."""
    settings = Settings(
        data_dir="/var/lib/calejo",
        database=DatabaseSettings(url="postgresql://calejo:hunter2@db/calejo"),
        control=ControlSettings(setpoint_lease_s=12.0),
    )
    shown = sections(msgspec.convert(masked(settings), Settings))
    assert "data_dir" in {each.key for each in shown[WHOLE]}
    lease = next(each for each in shown["control"] if each.key == "setpoint_lease_s")
    assert (lease.value, lease.default) == ("12.0", "10.0")
    assert [each.key for each in shown["control"] if each.default is not None] == ["setpoint_lease_s"]
    assert "hunter2" not in repr(shown)
    with Watched(Plant(), tmp_path) as watched:
        page = look(watched, "/configuration", UserRole.ENGINEER).raw.decode()
        for key in ("setpoint_lease_s", "user_requests_per_s", "data_dir"):
            assert f">{key}<" in page
        assert "/configuration" not in look(watched, "/", UserRole.OPERATOR).raw.decode(), (
            "no link that is refused"
        )


def test_fifty_watchers_ask_the_tree_as_often_as_one(tmp_path: Path) -> None:
    """HMI-2: a view costs its reader's browser, not control."""
    plant = Plant()
    with Watched(plant, tmp_path) as watched:
        look(watched, "/")
        plant.asked.clear()
        safety = "/sites/north/stations/harbour/safety"
        for _ in range(50):
            assert look(watched, "/").status == 200
        began = watched.api.desk.clock.now()
        asked = [address for address, _ in plant.asked if address == safety]
        assert began is not None
        assert len(asked) <= 25, len(asked)


def test_a_day_is_drawn_from_equal_steps(watched: Watched) -> None:
    """HMI-2: plan against actual over 24 h, every list as long as the time's; asked once for all."""
    answer = look(watched, "/trends/harbour")
    trend = answer.json()
    assert answer.status == 200
    assert len(trend["t"]) == 312
    assert {len(trend["level"]), len(trend["target"])} == {312}
    for pump in trend["pumps"]:
        assert len(pump["plan"]) == len(pump["actual"]) == 312
        assert {0.0, 38.0} <= set(pump["plan"])
        assert pump["actual"][-1] is None, "nobody has measured what is to come"
    assert trend["level"][10] is not None


def test_without_a_database_a_trend_says_why(tmp_path: Path) -> None:
    """HMI-2: no trend is told with its reason."""
    with Watched(Plant(), tmp_path) as watched:
        assert "no database" in look(watched, "/trends/harbour", Accept="application/json").problem(503)


def test_another_language_is_a_file(tmp_path: Path) -> None:
    """HMI-2: all texts in one catalogue; what a language lacks is told in English."""
    (tmp_path / "en.json").write_text(json.dumps({"a": "one {x}", "b": "two"}))
    (tmp_path / "de.json").write_text(json.dumps({"a": "eins {x}"}))
    found = texts.Texts(tmp_path)
    german = found.wanted("fr;q=0.9, de-AT;q=0.8, en;q=0.5")
    assert (german.language, german.text("a", x=1), german.text("b")) == ("de", "eins 1", "two")
    assert found.wanted("").language == "en"
    assert found.wanted("de;q=0, xx").language == "en"
    assert found.wanted("q=;;,,\0").language == "en"


def test_the_catalogue_knows_every_text_that_is_used() -> None:
    """HMI-2: templates and scripts name keys that exist, and words of the tree have theirs."""
    english = texts.Texts().wanted("en")
    used: set[str] = set()
    for file in rendering.FOLDER.glob("*.html"):
        used |= set(re.findall(r"\bt\('([\w.]+)'(?!\s*(?:\+|~))", file.read_text()))
    for file in files.FOLDER.glob("*.js"):
        used |= {f"js.{key}" for key in re.findall(r"""\b(?:text|sentence)\("(\w+)""", file.read_text())}
    own: set[str] = {f"reason.{each.name}" for each in Reason} | {f"rule.{each.value}" for each in Rule}
    own |= {f"alarm_state.{each.value}" for each in AlarmState}
    own |= {f"user_role.{each.value}" for each in UserRole} | {
        f"operation.{each.value}" for each in Operation
    }
    own |= {f"limit.{key}" for key in LIMIT_KEYS} | {f"state.{each.value}" for each in ChildState}
    own |= {
        f"finding.{what}"
        for what in re.findall(
            r'what="(\w+)"|, "(\w+)"\),', (Path(rendering.__file__).parent / "abnormal.py").read_text()
        )
        for what in what
        if what
    }
    missing = {key for key in used | own if not _has(english, key)}
    assert missing == set()
    assert len(used) > 150
    # In English they are the words of the rules themselves, as the API and the command line print them.
    for row in RULES:
        assert english.text(f"rule_effect.{row.rule.value}") == row.summary


def _has(catalogue: texts.Catalogue, key: str) -> bool:
    try:
        catalogue.text(key)
    except KeyError:
        return False
    return True


def test_no_page_is_written_in_a_template() -> None:
    """HMI-2: words between tags come from the catalogue: only names and signs stand in templates."""
    allowed = {"Calejo"}
    for file in rendering.FOLDER.glob("*.html"):
        plain = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", file.read_text(), flags=re.DOTALL)
        plain = re.sub(r"<svg.*?</svg>|<[^>]*>|[a-z-]+=\"[^\"]*\"", " ", plain, flags=re.DOTALL)
        words = {word for word in re.findall(r"[A-Za-z]{3,}", plain) if word not in allowed}
        assert words == set(), (file.name, words)


def test_files_of_others_are_as_released() -> None:
    """HMI-1: vendored with licence and hash; the hashes in the list are those of the files."""
    vendor = files.FOLDER / "vendor"
    lines = re.findall(r"^  ([0-9a-f]{64})  (\S+)$", (vendor / "README.txt").read_text(), flags=re.MULTILINE)
    listed = {name: digest for digest, name in lines}
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in vendor.iterdir()
        if file.suffix in {".js", ".css"}
    }
    assert found == listed
    for name in found:
        assert (vendor / f"{name.split('-')[0]}-LICENSE.txt").is_file()


def test_the_installed_package_holds_every_file() -> None:
    """HMI-1: a template or script that no pattern of pyproject.toml names would be missing after an installation."""
    package = rendering.FOLDER.parent
    project = tomllib.loads((package.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["api.dashboard"]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    there = {path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert there
    assert there - packed == set()


class Trail:
    """A trail of 25,000 records; `holds` False: somebody has changed record 24,000."""

    def __init__(self, *, holds: bool) -> None:
        self.holds = holds
        self.verified: list[tuple[int, int]] = []

    async def search(self, query: AuditQuery) -> AuditPage:
        del query
        return AuditPage(records=(), next_before=None)

    async def verify(self, *, after: int, count_max: int) -> AuditWindow:
        self.verified.append((after, count_max))
        whole = self.holds or count_max == 1
        return AuditWindow(
            holds=whole, first=after + 1, count=after + count_max, head="0" * 64, total=25_000,
            broken_at=None if whole else 24_000, reason="" if whole else "its hash is not that of its content",
            complaints=(), checkpoints_met=3, next_after=None,
        )  # fmt: skip


@pytest.mark.parametrize("holds", [True, False])
def test_the_trails_state_is_shown_and_found_out_once(tmp_path: Path, *, holds: bool) -> None:
    """AUD-1, HMI-2: the newest records are verified, for all who look; a broken trail is said where it breaks."""
    trail = Trail(holds=holds)
    with Watched(Plant(), tmp_path, audit=trail) as watched:
        pages = [look(watched, "/audit").raw.decode() for _ in range(3)]
    assert trail.verified == [(0, 1), (15_000, 10_000)]
    for page in pages:
        assert ("Records 15001 to 25000 of 25000 hold" in page) is holds
        assert ("BROKEN at record 24000" in page) is not holds
