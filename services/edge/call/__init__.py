"""One model call: reserve, call a vendor, relay and meter, settle. Knows no dialect; the charge matrix is kept here."""
