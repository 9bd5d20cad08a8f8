"""Who is let into the console: settings, users file, passwords, tokens, proxies, sessions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from infra.console.access.access import Access, access_of
from infra.console.access.doors import Doors
from infra.console.access.passwords import BY_PROXY, hash_password, hash_token, new_token, password_fits
from infra.console.access.proxies import Proxies
from infra.console.access.roles import Person, Role
from infra.console.access.sessions import Sessions, key_of
from infra.console.access.users import User, UsersFile, new_user, put_user, read_users
from infra.console.access.visitor import Visitor, Way
from infra.console.errors import NotAllowedError, NotSignedInError
from tests.support.console import PASSWORD, write_users
from worker.domain.errors import ConfigurationError
from worker.settings import load_settings


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def access(**settings: object) -> Access:
    environment = {f"LOGISTICS_CONSOLE_{name}": str(value) for name, value in settings.items()}
    return access_of(load_settings({"LOGISTICS_DATA_DIR": "/nonexistent", **environment}), operator="olga")


def visitor(opened: Access, peer: str = "127.0.0.1", **headers: str) -> Visitor | None:
    return opened.doors.visitor(Headers({name.replace("_", "-"): value for name, value in headers.items()}), peer)


def person(opened: Access, peer: str = "127.0.0.1", **headers: str) -> Person | None:
    found = visitor(opened, peer, **headers)
    return None if found is None else found.person()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return tmp_path / "users"


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "localhost:0", "[::1]:8080", "127.0.0.9:1"])
def test_on_this_machine_alone_everybody_is_who_started_it(address: str) -> None:
    opened = access(ADDR=address)
    assert person(opened) == Person("olga", Role.ADMIN)
    assert (opened.sign_in, opened.is_https, opened.cookie) == (None, False, "logistics")


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "10.0.0.7:80", "console.example:80"])
def test_on_any_other_address_it_starts_only_with_sign_in_and_says_what_to_do(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ask nobody .* set LOGISTICS_CONSOLE_USERS_FILE .* 127\.0\.0\.1"):
        access(ADDR=address)


def test_a_public_address_in_front_of_loopback_asks_for_sign_in_too() -> None:
    with pytest.raises(ConfigurationError, match="would ask nobody"):
        access(PUBLIC_URL="https://console.example")
    for own in ("http://localhost:9000", "http://[::1]", "http://127.0.0.1"):
        assert person(access(PUBLIC_URL=own)) == Person("olga", Role.ADMIN)


def test_on_any_other_address_it_has_to_know_its_own_name(users: Path) -> None:
    write_users(users)
    with pytest.raises(ConfigurationError, match="PUBLIC_URL is not set"):
        access(ADDR="0.0.0.0:8080", USERS_FILE=users)
    opened = access(ADDR="0.0.0.0:8080", USERS_FILE=users, PUBLIC_URL="https://console.example")
    assert (opened.is_https, opened.cookie) == (True, "__Host-logistics")
    assert person(opened) is None


@pytest.mark.parametrize("url", ["http://console.example", "console.example", "https://a/b", "https://", "ftp://a"])
def test_passwords_do_not_travel_readable(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LOGISTICS_CONSOLE_PUBLIC_URL"):
        access(PUBLIC_URL=url)


def test_a_users_file_is_in_force_on_loopback_too(users: Path) -> None:
    tokens = write_users(users)
    opened = access(USERS_FILE=users)
    assert person(opened) is None
    assert person(opened, authorization=f"Bearer {tokens[Role.ADMIN]}") == Person("admin-bot", Role.ADMIN)
    assert person(opened, authorization=f"bearer  {tokens[Role.READER]}") == Person("reader-bot", Role.READER)
    for wrong in ("Bearer ", "Bearer nonsense", f"Basic {tokens[Role.ADMIN]}", f"Bearer {tokens[Role.ADMIN]}x"):
        assert person(opened, authorization=wrong) is None


def test_who_is_removed_or_gets_another_role_or_token_has_it_at_once(users: Path) -> None:
    tokens = write_users(users)
    opened = access(USERS_FILE=users)
    bot = visitor(opened, authorization=f"Bearer {tokens[Role.OPERATOR]}")
    assert bot is not None
    put_user(users, new_user("operator-bot", "reader", hash_token(tokens[Role.OPERATOR])))
    assert bot.person() == Person("operator-bot", Role.READER)
    put_user(users, new_user("operator-bot", "operator", hash_token(new_token())))
    with pytest.raises(NotSignedInError, match="was removed or changed"):
        bot.person()


def test_a_users_file_that_is_spoilt_later_changes_nothing_until_it_is_mended(users: Path) -> None:
    tokens = write_users(users)
    opened = access(USERS_FILE=users)
    users.write_text("nonsense\n")
    assert person(opened, authorization=f"Bearer {tokens[Role.ADMIN]}") is not None
    users.write_text(f"ben reader {BY_PROXY}\n")
    assert person(opened, authorization=f"Bearer {tokens[Role.ADMIN]}") is None


def test_a_users_file_that_becomes_readable_by_a_chmod_alone_is_read_again(
    users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    tokens = write_users(users)
    opened = access(USERS_FILE=users)
    users.write_text(f"ben reader {BY_PROXY}\n")
    with monkeypatch.context() as as_another_user:
        as_another_user.setattr(Path, "read_text", refused)
        assert person(opened, authorization=f"Bearer {tokens[Role.ADMIN]}") is not None
    users.chmod(0o640)
    assert person(opened, authorization=f"Bearer {tokens[Role.ADMIN]}") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("anna operator", "line 1: write it as: name role hash"),
        ("# a comment\n\nanna king proxy", "line 3: the role is reader, operator or admin"),
        ("anna admin secret-in-clear", "line 1: no hash of a password or token"),
        ("anna admin sha256:abc", "line 1: "),
        (f"anna admin {BY_PROXY}\nanna reader {BY_PROXY}", "line 2: there is a user of this name already"),
        ("anna admin scrypt:33554432:8:1:AAAA:AAAA", "line 1: no hash that"),
        ("", "has no user"),
    ],
)
def test_a_users_file_that_is_wrong_stops_the_start_with_the_line_and_no_hash(
    users: Path, text: str, says: str
) -> None:
    users.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        UsersFile(users)
    assert says in str(caught.value)
    assert "secret-in-clear" not in str(caught.value)


def test_a_user_is_put_in_the_place_of_the_one_before_and_other_lines_stay(users: Path) -> None:
    users.write_text(f"# who may what\nanna reader {BY_PROXY}\nben admin {BY_PROXY}\n")
    users.chmod(0o640)
    put_user(users, new_user("anna", "operator", BY_PROXY))
    put_user(users, new_user("carl", "reader", BY_PROXY))
    assert users.read_text() == (
        f"# who may what\nanna operator {BY_PROXY}\nben admin {BY_PROXY}\ncarl reader {BY_PROXY}\n"
    )
    assert users.stat().st_mode & 0o777 == 0o640
    for name in ("", "two words", "#", "x" * 101, "a\nb"):
        with pytest.raises(ValueError, match="a name has 1 to 100"):
            put_user(users, new_user(name, "reader", BY_PROXY))
    put_user(users.with_name("new"), new_user("anna", "admin", BY_PROXY))
    assert users.with_name("new").stat().st_mode & 0o777 == 0o600


def test_a_password_fits_its_own_hash_alone_and_no_two_hashes_are_alike() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second
    assert password_fits(PASSWORD, first)
    assert not password_fits(PASSWORD + " ", first)
    for not_a_password in ("", BY_PROXY, hash_token(PASSWORD)):
        assert not password_fits(PASSWORD, not_a_password)
    assert read_users(f"anna admin {first}") == {"anna": User("anna", Role.ADMIN, first)}


PROXY = {"ADDR": "0.0.0.0:80", "PUBLIC_URL": "https://c.example", "USER_HEADER": "X-User", "ROLE_HEADER": "X-Role"}


def test_a_trusted_proxy_says_who_has_signed_in_and_nobody_else_is_believed() -> None:
    opened = access(TRUSTED_PROXIES="10.0.0.7, 10.1.0.0/16,::1", **PROXY)
    for trusted in ("10.0.0.7", "10.1.2.3", "::1", "::ffff:10.0.0.7"):
        assert person(opened, trusted, x_user="anna", x_role="operator") == Person("anna", Role.OPERATOR)
    for other in ("10.0.0.8", "127.0.0.1", "::2", "", "nonsense"):
        assert person(opened, other, x_user="anna", x_role="admin") is None


@pytest.mark.parametrize("role", [None, "", "king", "admin,reader"])
def test_whom_a_proxy_gives_no_role_that_exists_is_a_reader(role: str | None) -> None:
    opened = access(TRUSTED_PROXIES="10.0.0.7", **PROXY)
    headers = {"x_user": "anna"} if role is None else {"x_user": "anna", "x_role": role}
    assert person(opened, "10.0.0.7", **headers) == Person("anna", Role.READER)


def test_a_user_header_that_comes_twice_or_is_empty_is_nobody() -> None:
    opened = access(TRUSTED_PROXIES="10.0.0.7", **PROXY)
    twice = Headers(raw=[(b"x-user", b"anna"), (b"x-user", b"root")])
    assert opened.doors.visitor(twice, "10.0.0.7") is None
    for name in ("", " ", "x" * 101, "a\x7fb"):
        assert person(opened, "10.0.0.7", x_user=name) is None


def test_the_users_file_gives_a_role_to_whom_a_proxy_only_names(users: Path) -> None:
    users.write_text(f"anna admin {BY_PROXY}\nben admin {hash_token(new_token())}\n")
    opened = access(USERS_FILE=users, TRUSTED_PROXIES="10.0.0.7", USER_HEADER="X-User")
    assert person(opened, "10.0.0.7", x_user="anna") == Person("anna", Role.ADMIN)
    assert person(opened, "10.0.0.7", x_user="ben") == Person("ben", Role.READER)  # a token's line is not his


def test_a_proxy_s_word_does_not_last_for_ever_on_a_page_that_stays_open() -> None:
    clock = Clock()
    proxies = Proxies(["10.0.0.7"], "x-user", None)
    doors = Doors(sessions=Sessions(idle=1, longest=1), cookie="c", proxies=proxies, longest=60, clock=clock)
    anna = doors.visitor(Headers({"x-user": "anna"}), "10.0.0.7")
    assert anna is not None
    clock.now = 59
    assert anna.person() == Person("anna", Role.READER)
    clock.now = 60
    with pytest.raises(NotSignedInError, match="load it again"):
        anna.person()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"USER_HEADER": "X-User"}, "believed from a trusted proxy alone"),
        ({"ROLE_HEADER": "X-Role"}, "goes with LOGISTICS_CONSOLE_USER_HEADER"),
        ({"TRUSTED_PROXIES": "anybody"}, "write addresses and networks"),
        ({"KEY_FILE": "key.pem"}, "goes with LOGISTICS_CONSOLE_CERT_FILE"),
        ({"CERT_FILE": "cert.pem", "PUBLIC_URL": "http://localhost:8443"}, "begins with https://"),
    ],
)
def test_settings_that_do_not_go_together_stop_the_start(settings: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        access(**settings)


@given(st.lists(st.sampled_from(["10.0.0.7", "10.1.9.9", "8.8.8.8", "2001:db8::1", "nonsense"]), max_size=4))
def test_the_callers_address_is_the_last_one_that_no_trusted_proxy_has(hops: list[str]) -> None:
    opened = access(TRUSTED_PROXIES="10.0.0.0/8", **PROXY)
    headers = Headers({"x-forwarded-for": ", ".join(hops)})
    assert opened.doors.client(headers, "8.8.4.4") == "8.8.4.4"
    expected = "10.0.0.1"
    for hop in reversed(hops):
        if hop == "nonsense" or not expected.startswith("10."):
            break
        expected = hop
    assert opened.doors.client(headers, "10.0.0.1") == expected


def test_a_session_ends_when_it_is_not_used_and_after_a_day_whatever_is_done() -> None:
    clock = Clock()
    sessions, user = Sessions(idle=60, longest=200, clock=clock), User("anna", Role.READER, BY_PROXY)
    idle, used = sessions.begin(user), sessions.begin(user)
    assert idle != used
    for clock.now in (50, 100, 150, 199):
        assert sessions.user_of(key_of(used)) == user
    assert sessions.user_of(key_of(idle)) is None
    clock.now = 200
    assert sessions.user_of(key_of(used)) is None


def test_a_session_that_was_ended_or_never_begun_is_nobody_s_and_its_secret_is_not_kept() -> None:
    sessions = Sessions(idle=60, longest=200)
    secret = sessions.begin(User("anna", Role.READER, BY_PROXY))
    assert secret not in repr(vars(sessions))
    sessions.end(key_of(secret))
    assert sessions.user_of(key_of(secret)) is None
    assert sessions.user_of(key_of("never")) is None


def test_so_many_sessions_are_kept_and_the_one_not_used_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.console.access.sessions._MOST", 3)
    clock = Clock()
    sessions, user = Sessions(idle=60, longest=200, clock=clock), User("anna", Role.READER, BY_PROXY)
    secrets = []
    for clock.now in range(4):
        secrets.append(sessions.begin(user))
        sessions.user_of(key_of(secrets[0]))
    assert [sessions.user_of(key_of(secret)) is not None for secret in secrets] == [True, False, True, True]


@given(st.sampled_from(Role), st.sampled_from(Role))
def test_a_role_covers_itself_and_those_below(has: Role, asked: Role) -> None:
    anna = Visitor(Way.TOKEN, lambda: Person("anna", has))
    if list(Role).index(has) >= list(Role).index(asked):
        assert anna.require(asked) == Person("anna", has)
    else:
        with pytest.raises(NotAllowedError, match=f"this needs the role {asked}, and anna is {has}"):
            anna.require(asked)
