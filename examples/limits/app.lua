-- app.lua -- limits: a limit on connections, rooms, and statistics, without a connection manager.
--
-- Run:   MAX_CONNS=2 scripts/run examples/limits/app.lua
-- Type:  scripts/run talk ws://127.0.0.1:8080/garden
--        in three terminals: the server refuses the third with 503
--        End one of them, because a plain request counts as a connection as well:
--        curl -d 'to all in the garden' http://127.0.0.1:8080/garden
--        curl http://127.0.0.1:8080/stats
--
-- In many servers this is a class with a list of connections, a lock, maxConns, BroadcastToRoom and
-- GetStats, which must be updated whenever a connection ends. Here the server does all of it, and
-- the app only names it.

local tw = require "tidewire"

local function broadcast_to_room(request)
  local text = request.body or ""
  if not utf8.len(text) then return 400, { error = "a message is UTF-8 text" } end
  return { told = tw.room(request.params.room):broadcast(text) }
end

return {
  limits = {
    connections = tonumber(os.getenv("MAX_CONNS") or 1000)
      or error("MAX_CONNS must be a number", 0),
  },
  endpoints = {
    ["/:room"] = {
      on_start = function(conn) conn:join(conn.params.room) end,
      handle_message = function(conn, message)
        tw.room(conn.params.room):broadcast(message, conn)
      end,
    },
  },
  http = { ["POST /:room"] = broadcast_to_room, ["GET /stats"] = tw.stats },
}
