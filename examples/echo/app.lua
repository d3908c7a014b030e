-- app.lua -- echo: what a client sends comes back to it, text as text and bytes as bytes.
--
-- Run:   scripts/run examples/echo/app.lua
-- See:   http://127.0.0.1:8080/          the page connects and echoes what you type
-- Type:  scripts/run talk ws://127.0.0.1:8080/
--        and whatever you like
--
-- All of the echo is the line with conn:send. The page is plain HTTP beside the sockets, on the
-- same address and the same path: a browser that asks for "/" gets the page, a WebSocket gets the
-- echo.

local page = require "page" -- page.lua of this folder

return {
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message, kind)
        conn:send(message, kind)
      end,
    },
  },
  http = {
    ["GET /"] = function()
      return { headers = { ["Content-Type"] = "text/html; charset=utf-8" }, body = page }
    end,
  },
}
