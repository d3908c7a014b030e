-- app.lua -- limits: a connection manager, without one.
--
-- Run: MAX_CONNS=2 scripts/run examples/limits/app.lua Type: scripts/run talk
-- ws://127.0.0.1:8080/garden in three terminals: the third is refused, 503
--        end one of them, as a plain request takes a place as well:
--        curl -d 'to all in the garden' http://127.0.0.1:8080/garden
--        curl http://127.0.0.1:8080/stats
--
-- Elsewhere one would write a class with a list of connections, a lock, maxConns, BroadcastToRoom
-- and GetStats, and tidy it up whenever a connection ends. Here the core does all of it; what is
-- left is to name it.

local tw = require "tidewire"

local function broadcast_to_room(request)
  local text = request.body or ""
  if not utf8.len(text) then return 400, { error = "a message is UTF-8 text" } end
  return { told = tw.room(request.params.room):broadcast(text) }
end

return {
  limits = { connections = tonumber(os.getenv("MAX_CONNS") or 1000) or error("MAX_CONNS must be a number", 0) },
  endpoints = {
    ["/:room"] = {
      on_start = function(conn) conn:join(conn.params.room) end,
      handle_message = function(conn, message) tw.room(conn.params.room):broadcast(message, conn) end,
    },
  },
  http = { ["POST /:room"] = broadcast_to_room, ["GET /stats"] = tw.stats },
}
