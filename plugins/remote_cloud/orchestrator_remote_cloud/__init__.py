"""Any IonQ-compatible cloud, the vendor's or another orchestrator, as backends here."""
