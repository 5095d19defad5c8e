"""Who asks, and whether they may: tokens, logins, sessions, and the guard before every route (SEC-1, SEC-2)."""
