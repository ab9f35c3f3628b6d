"""The API's own documents."""

import httpx


async def test_the_openapi_document_describes_the_api(anonymous: httpx.AsyncClient) -> None:
    document = (await anonymous.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict)
    ]
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    for path, method, operation in operations:
        assert operation.get("description"), f"{method} {path} says nothing"
        assert operation.get("tags"), f"{method} {path} has no tag"
    for resource in ("contacts", "conversations", "conversation-messages", "workspace-phone-numbers"):
        assert f"/api/v1/{resource}" in document["paths"]


async def test_the_docs_page_needs_no_other_server(anonymous: httpx.AsyncClient) -> None:
    page = (await anonymous.get("/schema")).text
    assert "https://" not in page.split("spec:")[0]
    for asset in ("/assets/docs/swagger-ui-bundle.js", "/assets/docs/swagger-ui.css"):
        assert asset in page
        assert (await anonymous.get(asset)).status_code == 200
