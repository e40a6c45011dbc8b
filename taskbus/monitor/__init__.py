"""What the system says about itself, in the words of Celery's tools: names of nodes, events, replies. No kombu."""
