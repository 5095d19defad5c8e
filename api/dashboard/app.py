"""The dashboard's routes beside REST: pages, files, logging in and out; what is refused is told as a page (HMI-1)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from actors.vocabulary import CalejoError, CallerError, DeviceError, UnknownSubjectError
from actors.vocabulary.access import Operation
from api.access.errors import UnauthenticatedError
from api.access.guarding import PRINCIPAL, guard, needs, principal_of, public
from api.access.routes import Login
from api.dashboard.desktop import Dashboard, dashboard_of
from api.dashboard.files import KEPT, Files
from api.dashboard.page import LIVE_HEADER, WHOLE, AnyRequest, answered, framed
from api.dashboard.pages import PAGES
from api.handling import peer_of, service_of, strictly
from api.problems import PROBLEM, problem, refusal_of

if TYPE_CHECKING:
    from litestar.types import ExceptionHandlersMap

LOGIN: Final = "/login"
_NEXT_MAX: Final = 300


class LoggedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who logged in, and whether they must choose a password first."""

    user: str
    must_change_password: bool


@get(LOGIN, opt=public("whoever logs in is nobody yet"), include_in_schema=False, sync_to_thread=False)
def login_page(request: AnyRequest, state: State, following: FromQuery[str] = "/") -> Response[bytes]:
    """Show the form; `following`: where to go then, on this machine."""
    return _bare(request, dashboard_of(state), "login.html", following=own_path(following))


@post(
    LOGIN,
    status_code=200,
    opt=public("whoever logs in is nobody yet"),
    include_in_schema=False,
)
async def login(request: AnyRequest, state: State, data: JSONBody[Login]) -> Response[LoggedIn]:
    """Open a session, and give its token to the browser in a cookie that no script reads (SEC-1)."""
    strictly(request, Login)
    token, account = await service_of(state).access.logins.login_browser(
        user=data.user,
        password=data.password,
        code=data.code,
        peer=peer_of(request),
        client=request.headers.get("user-agent", ""),
    )
    answer = Response(LoggedIn(user=account.user_id, must_change_password=account.must_change))
    answer.set_cookie(service_of(state).access.desk.cookies.given(token))
    return answer


@post("/logout", status_code=200, opt=needs(Operation.OWN_ACCOUNT), include_in_schema=False)
async def logout(request: AnyRequest, state: State) -> Response[dict[str, bool]]:
    """End the session, and have the browser forget it."""
    principal = principal_of(request)
    ended = bool(principal.session_id) and await service_of(state).access.desk.end_session(
        principal.session_id, by=principal, peer=peer_of(request), reason="logged out"
    )
    answer = Response({"ended": ended})
    answer.set_cookie(service_of(state).access.desk.cookies.taken())
    return answer


@get(
    "/static/{digest:str}/{name:path}",
    opt=public("scripts and styles, the same for everybody"),
    include_in_schema=False,
    sync_to_thread=False,
)
def file(state: State, digest: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Return a file of this version; its name changes with its content, so a browser may keep it."""
    files: Files = dashboard_of(state).files
    found = files.file(digest, name.removeprefix("/"))
    if found is None:
        raise UnknownSubjectError(f"file {name[:100]!r} is not known")
    return Response(found.content, media_type=found.kind, headers={"Cache-Control": KEPT})


def own_path(text: str) -> str:
    """Return where to go after the login: a path of this machine, the overview for anything else."""
    plain = text[:_NEXT_MAX]
    is_own = plain.startswith("/") and not plain.startswith(("//", "/\\")) and plain.isprintable()
    return plain if is_own and "\\" not in plain else "/"


def dashboard_router() -> Router:
    """Return the routes of the dashboard."""
    return Router(
        path="/",
        route_handlers=[*PAGES, login_page, login, logout, file],
        guards=[guard],
        exception_handlers=_HANDLERS,
    )


def _unauthenticated(request: AnyRequest, error: UnauthenticatedError) -> Response[Any]:
    if _wants_page(request):
        following = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return Response(
            b"",
            status_code=HTTPStatus.SEE_OTHER,
            headers={"Location": f"{LOGIN}?following={quote(following, safe='')}"},
        )
    return _told(request, error)


def _wants_page(request: AnyRequest) -> bool:
    """Say whether a person's browser asked for a page of its own, not a script of ours for a piece of one."""
    return (
        request.method == "GET"
        and request.headers.get(LIVE_HEADER) != "true"
        and "text/html" in request.headers.get("accept", "")
    )


def _told(request: AnyRequest, error: CalejoError) -> Response[Any]:
    """Tell of a refusal as REST does, or on a page."""
    refusal = refusal_of(error)
    if _wants_page(request):
        status, dashboard, scope = int(refusal.status), dashboard_of(request.app.state), request.scope
        if PRINCIPAL not in scope:
            return _bare(
                request, dashboard, "refused.html", code=status, status=status, detail=refusal.detail
            )
        # Whoever may stop pumps may do so from here too: what is refused or away is a view, not the plant.
        shown = framed(
            request, "refused_within.html", frame=WHOLE, picture=None, status=status, detail=refusal.detail
        )
        return answered(shown, status=status)
    content = problem(refusal.status, refusal.detail, instance=request.url.path, title=refusal.title)
    return Response(content, status_code=refusal.status, media_type=PROBLEM, headers=refusal.headers)


_HANDLERS: Final[ExceptionHandlersMap] = {
    UnauthenticatedError: _unauthenticated,
    CallerError: _told,
    DeviceError: _told,
}


def _bare(
    request: AnyRequest, dashboard: Dashboard, template: str, *, code: int = 200, **values: Any
) -> Response[bytes]:
    texts = dashboard.texts.wanted(request.headers.get("accept-language", ""))
    return answered(dashboard.renderer.page(template, texts, **values), status=code)
