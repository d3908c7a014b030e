-- app.lua -- heartbeat: pings that find dead connections and measure the latency of live ones.
--
-- Run:   scripts/run examples/heartbeat/app.lua
--        ENV=production scripts/run examples/heartbeat/app.lua       (longer periods)
-- Type:  scripts/run talk ws://127.0.0.1:8080/frames
--        and wait: the client answers PING frames by itself, and gets its latency
--        scripts/run talk ws://127.0.0.1:8080/json
--        {"type":"ping","pingId":1}           gets an answer
--        {"type":"pong","pingId":3}           answers the last ping; in a browser a script does so
--
-- A client that is silent for pong_period (answers no ping, sends nothing) is closed with 4408.

local tw = require "tidewire"

local production = os.getenv("ENV") == "production"

-- Runs each ping_period, in place of the plain ping. conn.rtt is the round trip of the ping before.
local function send_ping(conn)
  if conn.rtt then
    conn.slowest = math.max(conn.slowest or 0, conn.rtt)
    conn:send({ type = "latency", ms = conn.rtt * 1000, slowest_ms = conn.slowest * 1000 })
  end
  conn:ping()
end

local function on_close(conn, code)
  tw.log.info("a client has left",
    { code = code, slowest_ms = conn.slowest and conn.slowest * 1000 or "unknown" })
end

local defaults = {
  codec = "json",
  ping_period = production and 30 or 2,
  pong_period = production and 60 or 10,
  send_ping = send_ping,
  on_close = on_close,
}

tw.log.info("heartbeat", { ping_period = defaults.ping_period, pong_period = defaults.pong_period })

return {
  defaults = defaults,
  endpoints = {
    -- PING frames: every client answers them, and no script sees them
    ["/frames"] = { heartbeat = "frame" },
    -- text messages: for clients whose scripts need to see them
    ["/json"] = { heartbeat = "json" },
  },
}
