"""What goes over the wire."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.schemas import AnalysisRequest, Credentials


def test_credentials_normalise_and_check() -> None:
    assert Credentials(email="  Reader@Example.ORG ", password="long enough").email == "reader@example.org"
    for email, password in (("no address", "long enough"), ("a@b@c", "long enough"), ("a@example.org", "short")):
        with pytest.raises(ValidationError):
            Credentials(email=email, password=password)


def test_analysis_request_bounds_its_description() -> None:
    assert AnalysisRequest(description="  A shop for tea  ").description == "A shop for tea"
    for description in ("too short", " " * 40, "x" * 2_001):
        with pytest.raises(ValidationError):
            AnalysisRequest(description=description)
