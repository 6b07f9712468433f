"""What an account buys: orders, subscriptions and their renewals, prices."""
