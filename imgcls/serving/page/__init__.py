"""The web page for people, and the page that documents the API; files of our own, no request to another host."""
