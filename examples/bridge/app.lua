-- app.lua -- bridge: one connection to another server, whose prices go to any number of clients.
--
-- Run:   scripts/run examples/bridge/exchange.lua       the other server, on port 9000
--        scripts/run examples/bridge/app.lua            and in another terminal this one
--        UPSTREAM=wss://example.com/prices scripts/run examples/bridge/app.lua
-- See:   http://127.0.0.1:8080/
-- Type:  scripts/run talk ws://127.0.0.1:8080/prices
-- Break: end the exchange with Ctrl-C, and start it again. The clients get a message each time,
--        and the log says when the bridge tries again.
-- Edit:  feed.lua, and reload (kill -HUP its pid): the clients stay, and so does the upstream.
--
-- Clients get
--   {"type":"prices","prices":{"GOLD":2410.3}}       what has changed; at first all prices
--   {"type":"upstream","connected":false}            the prices are those of then; true: of now
--
-- feed.lua has the upstream connection. It runs on one worker, and the room reaches the clients of
-- all workers, so the example runs with any number of workers.

local feed = require "feed"
local tw = require "tidewire"

local prices = {
  codec = "json",
  slow_client = "conflate", -- a client that is behind gets the newest price of each symbol

  on_start = function(conn) conn:join(feed.ROOM) end,

  -- The queue was full, so prices may be missing: a client that joins gets all of them.
  on_drain = function(conn)
    conn:leave(feed.ROOM)
    conn:join(feed.ROOM)
  end,
}

return {
  endpoints = { ["/prices"] = prices },
  http = { ["/"] = { static = "public" } },

  -- The first code starts the feed when it is loaded. Later code starts it when it is activated:
  -- then the feed of the old code has ended, so there is never a second one.
  on_load = function()
    if tw.generation == 1 then feed.start() end
  end,
  on_reload = feed.start,
}
