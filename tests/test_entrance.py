"""The ways to the demo and from it, and what a shared link says of the page."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app_runtime.app import create_app
from app_runtime.settings import Settings
from demo import entrance
from demo.head import DESCRIPTION, TITLE, Head, tagged

GRADIO = (
    '<html><head><meta charset="utf-8" /><meta property="og:title" content="Gradio" />'
    '<meta\n\t\t\tproperty="og:image"\n\t\t\tcontent="https://elsewhere.example/header.jpg"\n\t\t/>'
    '<meta name="twitter:creator" content="@Gradio" /><meta name="viewport" content="width=device-width" />'
    '<link rel="manifest" href="/manifest.json" /></head><body>Gradio</body></html>'
)


@pytest.fixture(scope="module")
def client():
    app = create_app(Settings())
    entrance.add_entrance(app)
    return TestClient(app, follow_redirects=False)


@pytest.mark.parametrize("path", ["/", "/web", "/web/", "/demo"])
def test_every_way_in_leads_to_the_page_with_its_query(client, path):
    reply = client.get(f"{path}?task=stage2_multi&seed=5")
    assert (reply.status_code, reply.headers["location"]) == (307, "/demo/?task=stage2_multi&seed=5")


def test_web_leads_to_the_page_where_the_hub_sets_its_variable(monkeypatch):
    monkeypatch.setenv("ENABLE_WEB_INTERFACE", "true")
    app = create_app(Settings())
    entrance.add_entrance(app)
    assert TestClient(app, follow_redirects=False).get("/web").headers["location"] == "/demo/"


@pytest.mark.parametrize(("path", "begins"), [("README.md", "---\ntitle: OpenSOC"), ("docs/README.md", "# ")])
def test_pages_of_the_repository_are_shown_as_text(client, path, begins):
    reply = client.get(f"/files/{path}")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text.startswith(begins)


@pytest.mark.parametrize(
    "path", ["server.py", "docs/../server.py", "docs/images/x.md", "docs/absent.md", "data/README.md"]
)
def test_no_other_file_is_shown(client, path):
    assert client.get(f"/files/{path}").status_code == 404


def test_links_lead_to_the_repository_or_to_this_server():
    assert [link.address for link in entrance.links("")] == [
        "../files/docs/README.md",
        "../files/models/defender/README.md",
        "../files/README.md",
        "../docs",
    ]
    assert [tuple(link) for link in entrance.links("https://hub.example/o/s")] == [
        ("Repository", "https://hub.example/o/s"),
        ("Docs", "https://hub.example/o/s/blob/main/docs/README.md"),
        ("Model card", "https://hub.example/o/s/blob/main/models/defender/README.md"),
        ("README", "https://hub.example/o/s/blob/main/README.md"),
        ("API", "../docs"),
    ]


def test_the_picture_of_the_page_is_sent_where_there_is_one(client, tmp_path, monkeypatch):
    picture = tmp_path / "social.png"
    monkeypatch.setattr(entrance, "SOCIAL", picture)
    assert client.get("/social.png").status_code == 404
    picture.write_bytes(b"picture")
    reply = client.get("/social.png")
    assert (reply.content, reply.headers["content-type"]) == (b"picture", "image/png")


# ---------------------------------------------------------------- what a shared link says
def test_our_tags_stand_in_the_place_of_all_others():
    page = tagged(GRADIO, "https://a.example/demo/", "https://a.example")
    head, body = page.split("</head>")
    assert "Gradio" not in head
    assert "elsewhere" not in head
    assert "manifest" not in head
    assert body == "<body>Gradio</body></html>"
    assert f"<title>{TITLE}</title>" in head
    for tag in (
        f'<meta name="description" content="{DESCRIPTION}">',
        f'<meta property="og:title" content="{TITLE}">',
        '<meta property="og:url" content="https://a.example/demo/">',
        '<meta property="og:image" content="https://a.example/social.png">',
        '<meta name="twitter:image" content="https://a.example/social.png">',
        '<meta name="twitter:card" content="summary_large_image">',
        '<meta name="viewport" content="width=device-width" />',
    ):
        assert head.count(tag) == 1


def test_the_page_alone_is_tagged_and_names_where_it_was_asked_for():
    inner = FastAPI()
    inner.add_route("/", lambda _: entrance.Response(GRADIO, media_type="text/html"))
    inner.add_route("/config", lambda _: entrance.Response("<head>", media_type="text/html"))
    app = FastAPI()
    app.mount("/demo", Head(inner))
    client = TestClient(app, base_url="https://a.example")

    page = client.get("/demo/")

    assert 'property="og:url" content="https://a.example/demo/"' in page.text
    assert 'content="https://a.example/social.png"' in page.text
    assert int(page.headers["content-length"]) == len(page.content)
    assert client.get("/demo/config").text == "<head>"


# ---------------------------------------------------------------- settings and metadata
@pytest.mark.parametrize(
    ("environ", "repository"),
    [
        ({}, ""),
        ({"OPENSOC_REPOSITORY": "https://hub.example/o/s/"}, "https://hub.example/o/s"),
        ({"SPACE_ID": "some-one/soc"}, "https://huggingface.co/spaces/some-one/soc"),
        ({"SPACE_ID": "o/s", "OPENSOC_REPOSITORY": "https://hub.example/o/s"}, "https://hub.example/o/s"),
        ({"SPACE_ID": 'o/s"><script>'}, ""),
    ],
)
def test_the_repository_is_set_or_the_space_that_serves(environ, repository):
    assert Settings.from_env(environ).repository == repository


def test_metadata_hold_the_readme_and_lead_to_the_docs():
    metadata = TestClient(create_app(Settings(repository="https://hub.example/o/s"))).get("/metadata").json()
    assert metadata["documentation_url"] == "https://hub.example/o/s/blob/main/docs/README.md"
    assert "# OpenSOC" in metadata["readme_content"]
    assert TestClient(create_app(Settings())).get("/metadata").json()["documentation_url"] == "/docs"
