"""A page around what a view shows: who looks, what stops hold, whether this is a whole page or only its live part."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response
from litestar.datastructures import State

from actors.vocabulary import DeviceError, Scope
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.users import Principal
from api.access.cookies import proof_of
from api.access.guarding import principal_of
from api.dashboard.desktop import Dashboard, dashboard_of
from api.dashboard.picture import Picture
from api.dashboard.rendering import POLICY

AnyRequest = Request[Any, Any, State]

HTML: Final = "text/html"
LIVE_HEADER: Final = "hx-request"
TARGET_HEADER: Final = "hx-target"
SLOW: Final = "slow"
WHOLE: Final = "layout.html"
ACTIVE_HEADER: Final = "calejo-active"
"""Sent by a page when somebody has touched keyboard, mouse or screen since the last look."""


async def page(
    request: AnyRequest,
    template: str,
    *,
    picture: Picture | None,
    zone: str = "",
    context: tuple[str, str] | None = None,
    slow: bool = False,
    **values: Any,
) -> Response[bytes]:
    """Return a view. `picture` None: it shows nothing of the plant. `context`: what a stop is offered for first.

    `slow`: it is read from a database, so only what all views show first is looked at each second.
    """
    dashboard, principal = dashboard_of(request.app.state), principal_of(request)
    live = request.headers.get(LIVE_HEADER) == "true"
    await _note_presence(request, dashboard, principal, whole=not live)
    content = framed(
        request, template, frame=_frame(request, live=live), picture=picture, zone=zone, context=context,
        slow=slow, **values,
    )  # fmt: skip
    return answered(content)


def framed(
    request: AnyRequest,
    template: str,
    *,
    frame: str,
    picture: Picture | None,
    zone: str = "",
    context: tuple[str, str] | None = None,
    slow: bool = False,
    **values: Any,
) -> bytes:
    """Return a view in its frame, as `page` without noting that somebody looked."""
    dashboard, principal = dashboard_of(request.app.state), principal_of(request)
    shown = dashboard.service.access.desk.cookies.shown(request)
    return dashboard.renderer.page(
        template,
        dashboard.texts.wanted(request.headers.get("accept-language", "")),
        frame=frame,
        slow=slow,
        principal=principal,
        may=lambda name: principal.may(Operation(name)),
        may_change=principal.operations is None,
        proof="" if shown is None else proof_of(shown.token),
        path=request.url.path,
        query=request.url.query,
        picture=picture,
        now=dashboard.service.clock.now().utc,
        zone=zone or ("UTC" if picture is None else picture.zone),
        context=context,
        scopes=_scopes(picture, context),
        **values,
    )


def _frame(request: AnyRequest, *, live: bool) -> str:
    """Return what the view stands in: a whole page, or the part of it that is asked for again."""
    if not live:
        return WHOLE
    return "slow.html" if request.headers.get(TARGET_HEADER) == SLOW else "live.html"


def answered(content: bytes, *, status: int = 200) -> Response[bytes]:
    """Return a page as it is sent."""
    return Response(content, status_code=status, media_type=HTML, headers={"Content-Security-Policy": POLICY})


async def _note_presence(
    request: AnyRequest, dashboard: Dashboard, principal: Principal, *, whole: bool
) -> None:
    """Keep a session from being idle while somebody sits at it; a page that renews itself proves nobody.

    Who may only read can leave a display on: nothing can be done with it.
    """
    active = whole or request.headers.get(ACTIVE_HEADER) == "1" or principal.role is UserRole.READ_ONLY
    if not principal.session_id or not active:
        return
    try:
        await dashboard.service.access.desk.seen(principal)
    except DeviceError:
        # The page is shown all the same; the session is as idle as it was.
        return


def _scopes(picture: Picture | None, context: tuple[str, str] | None) -> list[dict[str, str]]:
    """Return what can be stopped: what the page shows first, then from small to large, then all the rest."""
    if picture is None:
        return []
    pumps, stations, sites = [], [], []
    near: list[tuple[str, str]] = []
    for site in sorted(picture.sites, key=lambda each: each.config.site_id):
        sites.append(_scope(Scope.SITE, site.config.site_id, site.config.name, ""))
        for station in sorted(site.stations, key=lambda each: each.config.station_id):
            where = station.config.name
            stations.append(_scope(Scope.STATION, station.config.station_id, where, site.config.name))
            for pump in station.pumps:
                pumps.append(_scope(Scope.PUMP, pump.config.pump_id, pump.config.name, where))
                if context == (Scope.PUMP.value, pump.config.pump_id):
                    near = [
                        context,
                        (Scope.STATION.value, station.config.station_id),
                        (Scope.SITE.value, site.config.site_id),
                    ]
            if context == (Scope.STATION.value, station.config.station_id):
                near = [
                    context,
                    *((Scope.PUMP.value, pump.config.pump_id) for pump in station.pumps),
                    (Scope.SITE.value, site.config.site_id),
                ]
    every = [*stations, *sites, _scope(Scope.SYSTEM, "", "", ""), *pumps]
    ordered = [each for key in near for each in every if (each["scope"], each["scope_id"]) == key]
    return [*ordered, *(each for each in every if each not in ordered)]


def _scope(scope: Scope, scope_id: str, name: str, where: str) -> dict[str, str]:
    return {"scope": scope.value, "scope_id": scope_id, "name": name, "where": where}
