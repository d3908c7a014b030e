-- app.lua -- echo: sends each message back to its client, text as text and binary as binary.
--
-- Run:   scripts/run examples/echo/app.lua
-- See:   http://127.0.0.1:8080/          the page connects and shows the echo of your text
-- Type:  scripts/run talk ws://127.0.0.1:8080/
--        and any text
--
-- The line with conn:send is the whole echo. Plain HTTP serves the page on the same address and the
-- same path: a request of a browser for "/" gets the page, a WebSocket gets the echo.

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
