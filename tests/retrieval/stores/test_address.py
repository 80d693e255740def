import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamguard.core.errors import RequestError
from hamguard.retrieval.stores.address import Address, hidden, is_address
from hamguard.retrieval.stores.folder import FolderStore
from hamguard.retrieval.stores.registry import STORES, store_of


def test_an_address_has_a_url_and_a_name():
    found = Address.parse("postgresql://me:secret@host:5433/photos?sslmode=require#fashion")
    assert (found.url, found.name) == ("postgresql://me:secret@host:5433/photos?sslmode=require", "fashion")
    assert found.shown == "postgresql://me@host:5433/photos?sslmode=require#fashion"
    assert Address.parse("postgresql://host/photos").name == "hamguard"
    assert "secret" not in repr(found)


@given(st.text(min_size=4), st.sampled_from(["postgresql://me:{}@host/db", "postgresql://host/db?user=me&password={}"]))
def test_no_password_is_shown(password, form):
    from urllib.parse import quote

    url = form.format(quote(password, safe=""))
    shown = hidden(url)
    assert shown.startswith("postgresql://") and "host/db" in shown
    left = shown.replace("postgresql://", "").replace("host/db", "").replace("me@", "").replace("?user=me", "")
    assert left == ""
    found = Address.parse(url + "#x")
    assert password not in found.clean(f'invalid word "{password}" and {quote(password, safe="")} in it').replace(
        "invalid word", ""
    ).replace(" and ", "").replace(" in it", "")


@pytest.mark.parametrize(
    "url", ["postgresql://me:pa#ss@host/db", "postgresql://me:pa/ss@host/db", "postgresql://me:pa?s@h:x/db"]
)
def test_passwords_that_are_not_written_as_they_should_be_are_not_shown(url):
    with pytest.raises(RequestError) as error:
        Address.parse(url)
    assert "pa" not in str(error.value).replace("password", "") and "ss" not in str(error.value).replace(
        "password", ""
    ).replace("address", "")


def test_wrong_addresses_are_refused():
    with pytest.raises(RequestError, match="small letters, digits and _"):
        Address.parse("postgresql://host/db#My Index")
    with pytest.raises(RequestError, match=r"is no address of a data base: host or port"):
        Address.parse("postgresql://host:port/db")
    with pytest.raises(RequestError, match=r"at .*postgres://, postgresql://; did you mean postgresql\?"):
        store_of("postgresq://me:secret@host/db")
    assert is_address("postgresql://host/db") and not is_address("folder/with:colon") and not is_address(None)


def test_a_folder_has_no_scheme(tmp_path):
    assert isinstance(store_of(tmp_path), FolderStore) and store_of(str(tmp_path)).shown == str(tmp_path)
    assert STORES.names()[0] == "folder"
