"""The page of the shelf is what the catalogs say."""

from infra.shelf import PAGE, page


def test_the_page_is_made_from_the_catalogs_of_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    rows = {line.split("`")[1]: line for line in page().splitlines() if line.startswith("| `")}
    assert "| 59 CNY a month, no refund, once a month for each person or company | 50,000,000 TOKEN |" in rows["token-plan-50m"]
    assert "| by use | up to 1,000 CNY on the bill | list-price-usd |" in rows["vendor-metered-monthly"]
    assert "周" not in rows["coding-plan"].partition("Coding plan")[2]
    assert "12,000,000 TOKEN in 5 hours, each account; 90,000,000 TOKEN a week, each account" in rows["coding-plan"]
