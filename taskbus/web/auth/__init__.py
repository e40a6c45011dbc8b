"""Who asks: tokens, passwords, an OpenID provider, a trusted proxy; and the cookie of those who signed in."""
