"""A secret survives in no text, however it is spelled and whatever surrounds it."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq import _masking
from jobq._masking import hide, hide_dsn, mask, shown_url

ALPHABET = "abcdefXYZ0123456789-_.~+/"
tokens = st.text(ALPHABET, min_size=8, max_size=40).filter(lambda text: any(map(str.isdigit, text)))
# With a sign that nothing around them has: a secret that is an ordinary word proves nothing.
anything = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=5)
anything = anything.map("¤{}".format)
passwords = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_characters="*"), min_size=5
).map("¤{}".format)
NAMES = (
    "key api_key apiKey X-Api-Key x-goog-api-key GEMINI_API_KEY api_key_2 token access_token "
    "refreshToken AWS_SESSION_TOKEN secret client_secret password PGPASSWORD passwd passphrase "
    "pwd X-Amz-Signature credentials"
)
names = st.sampled_from(NAMES.split())
before = st.text("abc .,;:(){}[]<>\n\t", max_size=10).map(lambda text: f"{text} ")
after = st.sampled_from(["", " ", "\n", ", next", "; next", ") next", "\r\nHost: h"])


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(_masking, "_known", set())
    monkeypatch.setattr(_masking, "_pattern", None)


def forget():
    """What the fixture does once, between the examples of one test."""
    _masking._known.clear()
    _masking._pattern = None


ASSIGNED = {
    "assignment": "{name}={value}",
    "with spaces": "{name} = {value}",
    "header": "{name}: {value}",
    "on the next line": "{name}:\n    {value}",
    "mapping": "{{'{name}': '{value}', 'n': 1}}",
    "JSON": '{{"n": 1, "{name}": "{value}"}}',
    "JSON in JSON": '{{\\"n\\": 1, \\"{name}\\": \\"{value}\\"}}',
    "JSON in JSON in JSON": '{{\\\\\\"{name}\\\\\\": \\\\\\"{value}\\\\\\"}}',
    "bytes": "{{b'{name}': b'{value}'}}",
    "pair": "[('n', '1'), ('{name}', '{value}')]",
    "pair of bytes": "[(b'{name}', b'{value}')]",
    "pair in JSON": '[["{name}", "{value}"]]',
    "Ruby": "{{'{name}' => '{value}'}}",
    "query": "https://host/path?page=1&{name}={value}&n=1",
    "shell": "export {name}='{value}'",
}


@pytest.mark.parametrize("spelled", ASSIGNED.values(), ids=ASSIGNED)
@given(name=names, value=tokens, before=before, after=after)
def test_the_value_of_a_secret_name_is_masked(spelled, name, value, before, after):
    shown = mask(f"{before}{spelled.format(name=name, value=value)}{after}")
    assert value not in shown
    assert name in shown


@given(names, anything)
def test_any_secret_in_json_is_masked_at_any_depth(name, value):
    once = json.dumps({"n": 1, name: value})
    for text in (once, json.dumps(once), json.dumps({"body": once}), repr({name: value})):
        for spelled in (value, json.dumps(value)[1:-1]):
            assert spelled not in mask(f"it said {text}, and that was all")


@pytest.mark.parametrize("encode", [quote, quote_plus])
@given(name=names, value=anything)
def test_a_secret_in_an_encoded_url_is_masked(encode, name, value):
    for inner in (urlencode({"n": 1, name: value, "m": 2}), json.dumps({name: value})):
        shown = mask(f"see https://host/login?next={encode(inner, safe='')}&page=2")
        assert shown.endswith(("***%26m%3D2&page=2", "***%22%7D&page=2", "***&page=2"))


AUTHORIZED = {
    "Bearer": "Authorization: Bearer {value}",
    "Basic": "Authorization: Basic {value}",
    "another scheme": "Authorization: ApiKey-v1 {value}",
    "no scheme": "Authorization: {value}",
    "lower case": "authorization: bearer {value}",
    "folded": "Authorization: Bearer\r\n  {value}",
    "proxy": "Proxy-Authorization: Basic {value}",
    "Digest": 'Authorization: Digest username="ada", response="{value}", qop=auth',
    "AWS": "Authorization: AWS4-HMAC-SHA256 SignedHeaders=host, Signature={value}",
    "mapping": "{{'authorization': 'Bearer {value}', 'n': '1'}}",
    "mapping of bytes": "{{b'Authorization': b'Bearer {value}'}}",
    "pair": "('Authorization', 'Bearer {value}')",
    "pair of bytes": "(b'authorization', b'Bearer {value}')",
    "JSON": '{{"Authorization": "Bearer {value}"}}',
    "JSON in JSON": '{{\\"Authorization\\": \\"Bearer {value}\\"}}',
    "curl": "curl -H 'Authorization: Bearer {value}' https://host",
    "URL-encoded": "Authorization%3A%20Bearer%20{value}%0D%0A",
    "the scheme alone": "it refused Bearer {value}",
    "its own line": "headers:\n  Bearer {value}\n",
}


@pytest.mark.parametrize("spelled", AUTHORIZED.values(), ids=AUTHORIZED)
@given(value=tokens, before=before, after=after)
def test_what_authorizes_a_request_is_masked(spelled, value, before, after):
    assert value not in mask(f"{before}{spelled.format(value=value)}{after}")


@given(st.lists(tokens, min_size=1, max_size=8), before)
def test_a_private_key_is_masked_over_all_its_lines(lines, before):
    body = "\n".join(lines)
    text = f"{before}-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nnext"
    shown = mask(text)
    assert body not in shown
    assert not any(len(line) > 12 and line in shown for line in lines)
    assert shown.endswith("-----END RSA PRIVATE KEY-----\nnext")


SPELLINGS = {
    "as it is": lambda secret: secret,
    "JSON": json.dumps,
    "JSON with all letters": lambda secret: json.dumps(secret, ensure_ascii=False),
    "repr": repr,
    "repr of a mapping": lambda secret: repr({"n": [secret]}),
    "URL": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@given(secret=anything, before=st.text(), after=st.text())
def test_a_known_secret_is_masked_however_it_is_spelled(spell, secret, before, after):
    forget()
    hide([secret])
    spelled = spell(secret)
    core = spelled[1:-1] if spelled[0] in "\"'" and spelled[0] == spelled[-1] else spelled
    assert core not in mask(f"{before}{spelled}{after}")
    assert secret not in mask(f"{before}{spelled}{after}")


# --- database URLs ------------------------------------------------------------------------------

schemes = st.sampled_from(["postgresql", "postgres", "postgresql+psycopg", "mysql", "sqlite"])
hosts = st.sampled_from(["host", "host:5432", "[::1]:5432", "a:1,b:2", ""])
paths = st.sampled_from(["", "/jobs", "/jobs?connect_timeout=5", "/jobs?application_name=me#x"])


@given(schemes, st.sampled_from(["ada", ""]), passwords, hosts, paths)
def test_a_password_is_never_shown_with_its_url_however_it_is_written(
    scheme, user, password, host, path
):
    forget()
    for written in (password, quote(password, safe="")):
        shown = shown_url(f"{scheme}://{user}:{written}@{host}{path}")
        assert password not in shown
        assert written not in shown


@given(st.text(max_size=60))
def test_any_text_can_be_shown_as_a_url(text):
    forget()
    assert isinstance(shown_url(text), str)
    hide_dsn(text)


@given(
    st.sampled_from(["password", "sslpassword", "pass%77ord", "oauth_client_secret"]),
    passwords.filter(lambda text: "&" not in text),
    hosts,
)
def test_a_password_among_the_options_of_a_url_is_never_shown(name, password, host):
    forget()
    for written in (password, quote(password, safe="")):
        shown = shown_url(f"postgresql://ada@{host}/jobs?connect_timeout=5&{name}={written}&x=1")
        assert password not in shown
        assert written not in shown


@given(schemes, passwords, hosts, paths, st.text(), st.text())
def test_the_password_of_a_known_url_is_masked_in_any_text(
    scheme, password, host, path, before, after
):
    forget()
    hide_dsn(f"{scheme}://ada:{quote(password, safe='')}@{host}{path}")
    for written in (password, quote(password, safe=""), json.dumps(password)[1:-1]):
        assert written not in mask(f"{before}{written}{after}")


@given(passwords)
def test_the_password_of_a_connection_string_is_known(password):
    forget()
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    hide_dsn(f"host=h password = '{escaped}' user=ada")
    assert password not in mask(f"<{password}>")


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql://ada:pw@host/db", "postgresql://ada:***@host/db"),
        ("postgresql://ada@host/db?password=a+b&x=1", "postgresql://ada@host/db?password=***&x=1"),
        ("postgresql://ada:p/w@host/db", "postgresql://***"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql:///db?host=/run", "postgresql:///db?host=/run"),
        ("sqlite:////var/a@b/jobs.db?patience=3", "sqlite:////var/a@b/jobs.db?patience=3"),
        ("jobs.db", "jobs.db"),
        ("ada:pw@host", "***"),
    ],
)
def test_everything_else_of_a_url_is_shown(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "expected one of 'key', 'name'",
        "{'key', 'name'}",
        "KeyError: 'token'",
        "max_tokens: 100, total_tokens=7",
        "the bearer of this letter is trusted",
        "https://host:8080/@scope/package",
        "the signature of f(x) does not fit",
        "monkeypatch(keys=3)",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert mask(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://a:" * 20_000,
        "-----BEGIN PRIVATE KEY-----" * 5_000,
        "key" + "+" * 100_000,
        "key%2525" + "25" * 100_000,
        "authorization " * 10_000,
        "bearer " * 20_000,
        "bearer " + "a" * 100_000,
        "('key', " * 20_000,
        "(" * 50_000,
        '\\"key\\": \\"' + "\\\\" * 50_000,
        "authorization: " + "a-" * 50_000,
        "password" * 20_000,
        "password=" + " " * 100_000,
    ],
)
@pytest.mark.timeout(20)
def test_hostile_text_is_masked_in_linear_time(text):
    assert mask(text)
    hide_dsn(text)
