"""Any bytes, fed to what reads what others wrote."""
