-- url.lua -- seeds of fuzz_url: the URLs that people write for a WebSocket.

return {
  ws = "ws://example.org/chat", wss = "wss://example.org:8443/a/b?c=d&e#f", http = "http://host",
  https = "https://host/", bare = "example.org", bare_port = "localhost:9000/path",
  ipv6 = "ws://[::1]:8080/x", ipv6_only = "[::1]", unix = "unix:/run/app.sock:/chat?x=1",
  unix_only = "unix:/run/app.sock", query = "ws://host?query", user = "ws://user:pass@host/",
  escaped = "ws://host/%C3%A4?%20",
}
