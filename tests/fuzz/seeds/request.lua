-- request.lua -- seeds of fuzz_request: two bytes for the pieces, one for the limit, the head.

local PIECES, LIMIT = "\7\1", "\255"

local function head(...)
  return PIECES .. LIMIT .. table.concat({ ... }, "\r\n") .. "\r\n\r\n"
end

return {
  get = head("GET / HTTP/1.1", "Host: example.org"),
  old = head("GET /a%20b?x=1&y HTTP/1.0"),
  absolute = head("GET http://example.org:8080/path?q HTTP/1.1", "Host: other"),
  asterisk = head("OPTIONS * HTTP/1.1", "Host: example.org"),
  head = head("HEAD /index.html HTTP/1.1", "Host: [::1]:80", "Accept: text/html, */*;q=0.1"),
  length = head("POST /upload HTTP/1.1", "Host: x", "Content-Length: 12",
    "Content-Type: application/json"),
  chunked = head("PUT /upload HTTP/1.1", "Host: x", "Transfer-Encoding: chunked",
    "Expect: 100-continue"),
  handshake = head("GET /chat HTTP/1.1", "Host: server.example.com", "Upgrade: websocket",
    "Connection: keep-alive, Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Origin: http://example.com", "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
  other_upgrade = head("GET / HTTP/1.1", "Host: x", "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c"),
  range = head("GET /file HTTP/1.1", "Host: x", "Range: bytes=2-5", 'If-Range: "5f-1"'),
  range_end = head("GET /file HTTP/1.1", "Host: x", "Range: bytes=-3"),
  range_from = head("GET /file HTTP/1.1", "Host: x", "Range: bytes=4-",
    "If-Range: Sun, 06 Nov 1994 08:49:37 GMT"),
  not_modified = head("GET /file HTTP/1.1", "Host: x", 'If-None-Match: W/"1", "5f-1"',
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
  matches = head("GET /file HTTP/1.1", "Host: x", 'If-Match: *',
    "If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT"),
  empty_line = PIECES .. LIMIT .. "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
  ahead = head("GET / HTTP/1.1", "Host: x") .. "GET /next HTTP/1.1\r\n\r\n",
  by_byte = "\1\0\40" .. "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Tab:\t1\t\r\n\r\n",
}
