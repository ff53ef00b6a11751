"""A notification channel of ion-orchestrator for the services that Apprise knows."""
