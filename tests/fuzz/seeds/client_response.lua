-- client_response.lua -- seeds of fuzz_client_response: the number of offered subprotocols, the
-- response; \1 stands for the right Sec-WebSocket-Accept.

local function head(...)
  return "\2" .. table.concat({ ... }, "\r\n") .. "\r\n\r\n"
end

local UPGRADE = { "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade" }

return {
  accepted = head(UPGRADE[1], UPGRADE[2], UPGRADE[3], "Sec-WebSocket-Accept: \1",
    "Sec-WebSocket-Protocol: chat") .. "\129\2hi",
  plain = head(UPGRADE[1], UPGRADE[2], UPGRADE[3], "Sec-WebSocket-Accept: \1"),
  extension = head(UPGRADE[1], UPGRADE[2], UPGRADE[3], "Sec-WebSocket-Accept: \1",
    "Sec-WebSocket-Extensions: permessage-deflate"),
  wrong_key = head(UPGRADE[1], UPGRADE[2], UPGRADE[3],
    "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
  refused = head("HTTP/1.1 403 Forbidden", "Content-Length: 9", "Content-Type: text/plain")
    .. "forbidden",
  redirect = head("HTTP/1.0 302 Found", "Location: https://example.org/other"),
  no_reason = head("HTTP/1.1 503", "Retry-After: 1"),
  lines = "\0HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: upgrade\n"
    .. "Sec-WebSocket-Accept: \1\n\n",
  tls = "\0\21\3\3\0\2\2\40",
}
