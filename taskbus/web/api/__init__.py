"""The routes of the JSON API, a module for each part; ``registry`` lists them all."""
