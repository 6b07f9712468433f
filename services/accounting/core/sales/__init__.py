"""Sales to an account: orders, subscriptions and their renewals, prices."""
