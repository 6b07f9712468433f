"""What a client's calls must have cost."""

from tests.clients.system import TOKEN, Account, Bill, System


def assert_paid_once(system: System, account: Account, calls: int, dropped: str = "") -> Bill:
    """All calls were answered and each was charged once, by the vendor's count: receipts, journal, balance and vendor agree.

    `dropped` names the fields that the vendor was not told.
    """
    exchanges = system.exchanges()
    assert [(exchange.status, exchange.dropped) for exchange in exchanges] == [(200, dropped)] * calls
    bill = system.bill(account, exchanges)
    answered = [exchange.charging_id for exchange in exchanges]
    assert len(set(answered)) == calls
    assert sorted(fact["charging_id"] for fact in bill.settled) == sorted(answered)
    assert bill.served["calls"] == calls
    for receipt in bill.receipts:
        assert (receipt["provenance"], receipt["close_cause"]) == ("vendor", "normal"), receipt
        assert receipt["charged_amount"] == TOKEN * sum(receipt["usage"].values())
        assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["answered"]
    assert sum(receipt["usage"]["input"] for receipt in bill.receipts) == bill.served["input_tokens"]
    assert sum(receipt["usage"]["output"] for receipt in bill.receipts) == bill.served["output_tokens"]
    assert bill.consumed == bill.served["input_tokens"] + bill.served["output_tokens"]
    return bill


def assert_refused(system: System, account: Account, calls: int, status: int = 402) -> None:
    """So many calls were made and all of them refused as used up, before any vendor was called, and nothing was paid."""
    exchanges = system.exchanges()
    statuses = [exchange.status for exchange in exchanges]
    assert statuses == [status] * calls, statuses
    bill = system.bill(account, exchanges)
    assert (bill.settled, bill.consumed, bill.served.get("calls", 0)) == ([], 0, 0)
