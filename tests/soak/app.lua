-- app.lua -- the app of the soak test (soak.lua): something of everything, so that every kind of
-- memory is used and must be given back.
--
-- Each reload changes VERSION. GET /measure collects all garbage and tells what is left.

local tw = require "tidewire"
local here = require "here"
local clients = require "clients"

local VERSION = 1

local counters = tw.shared("counters")
local sessions = tw.shared("sessions", { max_bytes = "256K" })
local kept = tw.keep("kept", function() return { messages = 0 } end)

-- A binary message comes to endpoints of text as well.
local function text_of(message) return utf8.len(message) and message or "bytes" end

tw.every(0.5, function() counters:incr("ticks") end)

---What is left in this worker.
local function measure()
  collectgarbage()
  collectgarbage()
  local members = 0
  for i = 1, 8 do members = members + tw.room("room" .. i):size() end
  local stats = tw.stats()
  return {
    version = VERSION, worker = tw.worker, lua = collectgarbage("count") * 1024,
    members = members, connections = stats.total_connections, timers = stats.repeating_timers,
    upstreams = stats.upstreams, script_errors = stats.script_errors, stats = stats,
    sessions = #sessions:keys(),
  }
end

local faults = {
  error = function() error("an error of the script") end,
  value = function() error({ code = 7 }) end,
  index = function(conn) return conn.nothing.at.all end,
  send = function(conn) conn:send(print) end,
  loop = function() while true do VERSION = VERSION + 0 end end,
  deep = function()
    local function f(n) return 1 + f(n + 1) end
    return f(1)
  end,
  garbage = function()
    local list
    for i = 1, 20000 do list = { list, i } end
    return list and nil
  end,
  timer = function(conn) conn:after(0.001, function() error("in a timer") end) end,
  spawn = function() tw.spawn(function() error("in a spawned function") end) end,
  sleep = function() tw.sleep(0.2) end,
  close = function(conn) conn:close(4000, "enough") end,
}

return {
  admin = "127.0.0.1:0",
  limits = { handshake_seconds = 10, half_closed_seconds = 1, send_timeout = 20 },
  defaults = {
    origins = "*", ping_period = 1, pong_period = 60, handler_timeout = 0.2,
    validate = here.validate,
  },
  endpoints = {
    ["/echo"] = {
      handle_message = function(conn, message)
        kept.messages = kept.messages + 1
        conn:send(text_of(message))
      end,
    },
    ["/json"] = {
      codec = "json", heartbeat = "json",
      handle_message = function(conn, message)
        conn:send({ version = VERSION, message = message })
      end,
    },
    ["/packed"] = {
      compression = { threshold = 100, level = 1 }, max_message_size = "100K",
      handle_message = function(conn, message) conn:send(text_of(message)) end,
    },
    ["/packed/context"] = {
      compression = { threshold = 10, context = true }, max_message_size = "100K",
      handle_message = function(conn, message) conn:send(text_of(message)) end,
    },
    ["/room/:name"] = {
      max_backlog = "64K", slow_client = "close",
      on_start = function(conn) conn:join(conn.params.name) end,
      handle_message = function(conn, message)
        tw.room(conn.params.name):broadcast(text_of(message))
      end,
      on_close = function(conn) tw.room(conn.params.name):broadcast("left " .. conn.id) end,
    },
    ["/conflate/:name"] = {
      max_backlog = "16K", slow_client = "conflate",
      on_start = function(conn) conn:join(conn.params.name) end,
      handle_message = function(conn, message)
        tw.room(conn.params.name):broadcast(text_of(message), { key = message:sub(1, 1) })
      end,
    },
    ["/fault"] = {
      handle_message = function(conn, message)
        local fault = faults[message]
        if fault then fault(conn) end
        conn:send("after " .. text_of(message))
      end,
      on_error = function(conn, err)
        if err.kind ~= "timeout" then conn:send("error") end
      end,
    },
    ["/timers"] = {
      on_start = function(conn)
        local count = 0
        conn:every(0.01, function()
          count = count + 1
          if count <= 5 then conn:send("tick " .. count) end
        end)
        conn:after(30, function() conn:send("late") end)
        tw.after(0.05, function() counters:incr("afters") end)
      end,
      handle_message = function(conn, message)
        sessions:set(conn.id, message, 0.5)
        tw.sleep(0.005)
        conn:send(tostring(counters:incr("messages")))
      end,
      on_close = function(conn) sessions:delete(conn.id) end,
    },
    ["/limited"] = {
      max_message_size = 1000, max_fragments = 5, message_timeout = 1,
      rate = { messages = 50, per = 1, burst = 20 },
      handle_message = function(conn, message) conn:send(text_of(message)) end,
    },
  },
  http = {
    ["GET /hello"] = function() return "hello" end,
    ["POST /body"] = function(request) return { length = #(request.body or "") } end,
    ["GET /large"] = function() return ("x"):rep(500000) end,
    ["GET /late"] = function()
      tw.sleep(0.05)
      return "late"
    end,
    ["GET /fault"] = function() error("in a route") end,
    ["GET /measure"] = here.route(measure),
    -- a connection to a hostile server
    ["GET /connect"] = function()
      clients.round()
      return "done"
    end,
    ["/files"] = { static = "files" },
  },
}
