"""Messages on queues, through kombu: publish, fetch, settle, lease. kombu is imported only below this package."""
