"""The web server: the JSON API, its live stream, and the page. It needs the extra ``taskbus[web]``."""
