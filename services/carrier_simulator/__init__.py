"""Carrier simulator: the operator's side of the phone bill, as CAMARA Carrier Billing 0.5.0 and its Refund 0.3.0 have it.

Their source: camaraproject/CarrierBillingCheckOut, release r3.2, commit 5adfde0301043a87aa5a36fb1cf6cc1d7f1abfe3, Apache-2.0. The
simulator keeps payments in memory, and answers late, wrongly, twice or not at all where it is told to. It bills nobody.

Called by billing, where its carrier address says so; calls nobody.
"""
